from pathlib import Path

from typer.testing import CliRunner

from cli.__main__ import app


def test_a_demo_that_cannot_begin_says_so_in_its_last_line(tmp_path: Path) -> None:
    played = CliRunner().invoke(app, ["demo"], env={"RECURRING_HOME": str(tmp_path)})
    assert played.exit_code == 1
    assert played.output.splitlines()[-1].startswith(
        f"demo: FAILED no stack is described in {tmp_path}/stack.json: run `make up`"
    )


def test_a_description_that_is_broken_is_said_in_words(tmp_path: Path) -> None:
    tmp_path.joinpath("stack.json").write_text("{")
    failed = CliRunner().invoke(app, ["status"], env={"RECURRING_HOME": str(tmp_path)})
    assert failed.exit_code == 1
    assert "is no description of a stack" in failed.output
