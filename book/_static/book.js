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

/* All verdicts: show the claims that the three choices leave, and chapters that have any. */
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector(".verdict-filters");
  if (!form) return;
  const choices = [...form.querySelectorAll("[data-filter]")];
  const rows = [...document.querySelectorAll("table.claims tbody tr")];
  const show = () => {
    const wanted = choices.filter((choice) => choice.value);
    rows.forEach((row) => {
      row.hidden = wanted.some((choice) => row.dataset[choice.dataset.filter] !== choice.value);
    });
    document.querySelectorAll("table.claims").forEach((table) => {
      table.closest("section").hidden = !table.querySelector("tbody tr:not([hidden])");
    });
    const left = rows.filter((row) => !row.hidden).length;
    form.querySelector("output").textContent = left === rows.length ? `${left} claims` : `${left} of ${rows.length} claims`;
  };
  choices.forEach((choice) => choice.addEventListener("change", show));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  show();
});

/* Where figures scroll in their own box, as on a phone, keys reach them, too. */
document.addEventListener("DOMContentLoaded", () => {
  const narrow = window.matchMedia("(max-width: 560px)");
  const reach = () => document.querySelectorAll("figure:has(> img.lettered)").forEach((figure) => {
    if (narrow.matches) figure.tabIndex = 0;
    else figure.removeAttribute("tabindex");
  });
  narrow.addEventListener("change", reach);
  reach();
});
