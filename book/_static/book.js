/* Search results quote a page's text: formulas in it as readers say them, not as TeX. */
const SIGNS = {
  alpha: "α", beta: "β", gamma: "γ", delta: "δ", epsilon: "ε", varepsilon: "ε", theta: "θ", lambda: "λ", mu: "μ", nu: "ν",
  pi: "π", rho: "ρ", sigma: "σ", Sigma: "Σ", tau: "τ", phi: "φ", varphi: "φ", psi: "ψ", omega: "ω", infty: "∞", times: "×",
  cdot: "·", leq: "≤", le: "≤", geq: "≥", ge: "≥", neq: "≠", approx: "≈", sim: "~", to: "→", in: "∈", sum: "Σ", int: "∫",
  ldots: "…", dots: "…", pm: "±", partial: "∂", nabla: "∇", ell: "ℓ", log: "log", exp: "exp", min: "min", max: "max",
};

function spoken(tex) {
  return tex.replace(/\\[()\[\]]/g, "").replace(/\\(?:begin|end)\{[^}]*\}/g, "")
    .replace(/\\(?:text|mathrm|mathbf|mathcal|operatorname)\s*/g, "")
    .replace(/\\([A-Za-z]+)/g, (whole, name) => SIGNS[name] || "")
    .replace(/\\./g, " ").replace(/[{}$&]/g, "").replace(/\s+/g, " ").trim();
}

document.addEventListener("DOMContentLoaded", () => {
  if (typeof Search === "undefined" || !Search.htmlToText) return;
  const whole = Search.htmlToText;
  Search.htmlToText = (text, anchor) => {
    const page = new DOMParser().parseFromString(text, "text/html");
    page.querySelectorAll(".math").forEach((formula) => { formula.textContent = spoken(formula.textContent); });
    page.querySelectorAll(".cell_input, nav, .onlyprint").forEach((part) => part.remove());
    return whole(page.documentElement.outerHTML, anchor);
  };
});
