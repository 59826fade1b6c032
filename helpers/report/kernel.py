"""Where a chapter runs: in a kernel of this interpreter, with this checkout's `helpers`, in one fixed environment.

Two clones may share an environment, whose `helpers` is then that of one of them, and a kernel named python3 may belong to
another Python. So the kernel is started from `sys.executable`, and its import path begins with this checkout.
"""

import contextlib
import logging
import os
from pathlib import Path

import nbformat

from helpers.paths import ROOT

# Both runners of chapters, the driver and nbval (notebooks/conftest.py), set exactly this: the number of threads
# changes the order of sums, and a progress bar or a debugger's warning would be stored as output.
ENVIRONMENT = {
    "TQDM_DISABLE": "1",
    "OMP_NUM_THREADS": "2",
    # glibc gives memory back to the system after every layer and gets it again, zeroed, for the next: a quarter of the time.
    "MALLOC_MMAP_THRESHOLD_": str(2**30),
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MKL_NUM_THREADS": "2",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    "PYTHONHASHSEED": "0",
}


class UsageError(Exception):
    """A request that cannot be met; its text is the one line that the user sees."""


class ChapterError(Exception):
    """A cell failed; its text is the one line that the user sees."""


def fixed_environment() -> dict[str, str]:
    """What a kernel's environment must hold: ENVIRONMENT, and a PYTHONPATH that begins with this checkout."""
    later = [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p and p != str(ROOT)]
    return ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([str(ROOT), *later])}


@contextlib.contextmanager
def environment(**extra: str):
    """The fixed environment, for the kernels started inside; what was there before comes back after."""
    before = dict(os.environ)
    os.environ.update(fixed_environment() | extra)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def refuse_another_checkout(folder: Path) -> None:
    """A UsageError where `folder` lies in one checkout and this code in another, whose files would be read and written."""
    here = next((p for p in (folder, *folder.parents) if (p / "helpers" / "paths.py").is_file()), None)
    if here is not None and here.resolve() != ROOT:
        raise UsageError(f"this folder is in {here}, but Python found the helpers of {ROOT}: run the command from {here}")


def own_kernel() -> type:
    """A kernel manager whose every kernel is `sys.executable -m ipykernel_launcher`, whatever kernels are installed."""
    from ipykernel.kernelspec import get_kernel_dict
    from jupyter_client import AsyncKernelManager
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

    class OwnSpec(KernelSpecManager):
        def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
            return KernelSpec(**get_kernel_dict())

    class OwnKernel(AsyncKernelManager):
        def _kernel_spec_manager_default(self) -> KernelSpecManager:
            return OwnSpec(parent=self)

    return OwnKernel


def write_tuples() -> None:
    """Let papermill write a tuple as one; it would be given to the chapter as a text."""
    from papermill.translators import PythonTranslator, papermill_translators

    class Literals(PythonTranslator):
        @classmethod
        def translate(cls, value) -> str:
            if isinstance(value, tuple):
                return f"({' '.join(f'{cls.translate(item)},' for item in value)})"
            return super().translate(value)

    papermill_translators.register("python", Literals)


def execute(source: Path, executed: Path, chosen: dict, found: Path, cwd: Path) -> None:
    """Run the notebook `source`; the chapter writes its report to `found`. A ChapterError names a cell that fails."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    write_tuples()
    # What fails is told in one line below; asyncio's is of a task whose end nobody waits for after Ctrl-C.
    for name in ("papermill", "papermill.translators", "traitlets", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        # Tiny models: two threads wait for each other longer than they compute.
        threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} if chosen.get("profile") == "smoke" else {}
        with environment(CHAPTER_RESULTS=str(found), **threads):
            papermill.execute_notebook(str(source), str(executed), parameters=chosen, cwd=str(cwd), progress_bar=False,
                                       kernel_name="python3", kernel_manager_class=own_kernel(),
                                       extra_arguments=["--IPKernelApp.log_level=CRITICAL"])
    except PapermillExecutionError as error:
        raise ChapterError(f"code cell {failed_cell(executed)} failed: {error.ename}: {error.evalue}") from error
    except RuntimeError as error:    # a kernel that does not start, or is killed, for memory as a rule
        raise ChapterError(f"the kernel died: {error}") from error


def failed_cell(executed: Path) -> int:
    """Which code cell holds the error, counted from 0 as nbval does."""
    code = [c for c in nbformat.read(executed, as_version=4).cells
            if c.cell_type == "code" and "injected-parameters" not in c.metadata.get("tags", [])]
    return next((k for k, c in enumerate(code) if any(o.output_type == "error" for o in c.outputs)), -1)
