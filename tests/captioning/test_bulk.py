"""Many files through one engine, and through many on Ray's workers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import ray

from captioning.bulk import BulkCaptioner, BulkSettings, Content, Record, Scale, read
from captioning.caption_engine import Caption
from captioning.engine import Engine
from captioning.errors import EngineClosed, EngineUnavailable, WorkersFailed
from captioning.openai_engine import Server
from tests.captioning.completions_server import CompletionsServer, serving

SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 99 99"><circle cx="{}" cy="9" r="{}"/></svg>'


def write_drawings(folder: Path, count: int) -> list[Path]:
    folder.mkdir(exist_ok=True)
    files = [folder / f"{number:04}.svg" for number in range(count)]
    for number, file in enumerate(files):
        file.write_text(SVG.format(number % 90, 1 + number // 90))
    return files


@pytest.fixture(scope="module")
def engine(llama: Path) -> Iterator[Engine]:
    engine = Engine.load(str(llama), dtype="float32", device="cpu", max_batch_size=4)
    yield engine
    engine.close()


def captioner(engine: Engine, **changes: Any) -> BulkCaptioner:
    return BulkCaptioner(engine, BulkSettings(**{"max_new_tokens": 6} | changes))


def test_records_come_in_order_and_each_file_has_its_own_fate(
    engine: Engine, icons: Path, tmp_path: Path
) -> None:
    good, also = write_drawings(tmp_path, 2)
    bad = tmp_path / "bad.svg"
    bad.write_text("hello")
    files = [good, bad, tmp_path / "missing.svg", also]
    records = list(captioner(engine, adapter=icons).records(map(read, files)))
    assert [record["file"] for record in records] == list(map(str, files))
    first, refused, missing, last = records
    [expected] = engine.caption([good.read_bytes()], adapter="icons", max_new_tokens=6)
    assert isinstance(expected, Caption)
    assert first["captions"] == [{"text": expected.text, "finish_reason": expected.finish_reason}]
    assert first["sha256"] != last["sha256"]
    assert (refused["error"]["type"], "sha256" in refused) == ("not_svg", True)
    assert (missing["error"]["type"], "sha256" in missing) == ("system", False)


def test_several_captions_of_each_file(engine: Engine, tmp_path: Path) -> None:
    files = write_drawings(tmp_path, 3)
    several = captioner(engine, n=3, temperature=1.5, seed=7)
    records = list(several.records(map(read, files)))
    assert [len(record["captions"]) for record in records] == [3, 3, 3]
    assert len({made["text"] for made in records[0]["captions"]}) == 3
    assert records == list(several.records(map(read, files)))


def test_what_is_under_way_is_bounded_and_fills_the_rows(engine: Engine, tmp_path: Path) -> None:
    files = write_drawings(tmp_path, 60)
    taken = 0

    def contents() -> Iterator[Content]:
        nonlocal taken
        for file in files:
            taken += 1
            yield read(file)

    before = engine.load_now
    most = max(taken - given for given, _ in enumerate(captioner(engine).records(contents())))
    after = engine.load_now
    assert 4 < most <= 12
    assert (after.step_rows - before.step_rows) / (after.steps - before.steps) > 3


def test_what_breaks_the_model_is_tried_again_another_time(engine: Engine, tmp_path: Path) -> None:
    files = write_drawings(tmp_path, 3)
    head: Any = engine._model.lm_head

    def fail(*_: object) -> None:
        raise MemoryError("out of memory")

    hook = head.register_forward_pre_hook(fail)
    records = list(captioner(engine).records(map(read, files)))
    hook.remove()
    assert [record["error"]["message"] for record in records] == ["MemoryError: out of memory"] * 3
    assert not any("sha256" in record for record in records)


def test_a_closed_engine_is_no_files_error(llama: Path, tmp_path: Path) -> None:
    files = write_drawings(tmp_path, 3)
    closed = Engine.load(str(llama), device="cpu")
    records = captioner(closed).records(map(read, files))
    closed.close()
    with pytest.raises(EngineClosed):
        list(records)


def test_a_server_that_goes_away_ends_the_run(
    llama: Path, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("captioning.completions._FIRST_WAIT_S", 0)
    files = write_drawings(tmp_path, 3)
    with serving(CompletionsServer(engine)) as server:
        settings = BulkSettings(str(llama), server=Server(server.url))
        remote = settings.load_engine()
        [first] = BulkCaptioner(remote, settings).records(map(read, files[:1]))
    assert first["captions"]
    with pytest.raises(EngineUnavailable):
        list(BulkCaptioner(remote, settings).records(map(read, files)))
    remote.close()


def test_ctrl_c_leaves_whole_lines_and_the_same_command_goes_on(llama: Path, tmp_path: Path) -> None:
    files = write_drawings(tmp_path / "in", 400)
    output = tmp_path / "out.jsonl"
    arguments = [str(tmp_path / "in"), "-o", str(output), "--model", str(llama), "--json"]
    command = [sys.executable, "-m", "captioning", *arguments]

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    first = start()
    while not (output.exists() and output.read_bytes().count(b"\n") >= 5):
        assert first.poll() is None
        time.sleep(0.02)
    first.send_signal(signal.SIGINT)
    out, err = first.communicate(timeout=120)
    written = output.read_text().splitlines()
    summary = json.loads(out)
    assert (first.returncode, summary["interrupted"], summary["captioned"]) == (1, True, len(written)), err
    assert all(json.loads(line)["captions"] for line in written)
    with output.open("a") as file:
        file.write('{"file": "torn')
    second = start()
    out, err = second.communicate(timeout=500)
    assert second.returncode == 0, err
    summary = json.loads(out)
    assert (summary["done_before"], summary["captioned"]) == (len(written), 400 - len(written))
    assert [json.loads(line)["file"] for line in output.read_text().splitlines()] == list(map(str, files))
    assert "400 of 400 files" in err


def test_what_is_false_is_written_anew_in_the_company_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = {
        "blue": '<rect width="50" height="50" fill="blue"/>',
        "red": '<circle cx="50" cy="50" r="40" fill="red"/>',
    }
    for name, body in bodies.items():
        (tmp_path / f"{name}.svg").write_text(f'<svg viewBox="0 0 100 100">{body}</svg>')
    files = sorted(tmp_path.glob("*.svg"))
    settings = BulkSettings(revise=True)
    engine = settings.load_engine()
    blue, red = BulkCaptioner(engine, settings).records(map(read, files))
    plain = list(BulkCaptioner(engine, BulkSettings()).records(map(read, files)))
    assert "blue square" in blue["captions"][0]["text"]
    assert blue["captions"][0]["draft"] == plain[0]["captions"][0]["text"]
    assert blue["usage"]["completion_tokens"] > plain[0]["usage"]["completion_tokens"]
    assert red == plain[1]
    assert settings.described() == BulkSettings().described() | {"revise": True}

    def broken(_: object) -> None:
        raise ValueError("such geometry")

    monkeypatch.setattr("captioning.revision.read_facts", broken)
    assert list(BulkCaptioner(engine, settings).records(map(read, files))) == plain
    engine.close()


@pytest.mark.ray
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray", "ignore::FutureWarning:ray")
def test_a_worker_that_is_killed_loses_nothing(
    engine: Engine, llama: Path, icons: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from captioning import bulk_ray

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(bulk_ray, "_FILES_A_TASK", 4)
    write_drawings(tmp_path / "in", 60)
    files = [*sorted((tmp_path / "in").iterdir()), tmp_path / "missing.svg"]
    settings = BulkSettings(str(llama), icons, max_new_tokens=6)
    records: list[Record] = []
    for record in bulk_ray.records(files, settings, Scale(workers=2, cpus_per_worker=0.5)):
        records.append(record)
        if len(records) == 1:
            first, _ = engine_workers()
            os.kill(first, signal.SIGKILL)
    expected = BulkCaptioner(engine, settings).records(map(read, files))
    assert list(map(settled, records)) == list(map(settled, expected))
    broken = BulkSettings(str(llama), tmp_path)
    with pytest.raises(WorkersFailed, match="adapter"):
        list(bulk_ray.records(files, broken, Scale(cpus_per_worker=0.5)))


def settled(record: Record) -> Record:
    """What does not hang on the last bits of a worker's arithmetic."""
    captions = len(record.get("captions", []))
    return {name: record.get(name) for name in ("file", "sha256", "svg", "error")} | {"captions": captions}


def engine_workers() -> list[int]:
    """The process ids of the engines of this process's Ray."""
    session = Path(ray.worker.global_worker.node.get_session_dir_path()).name
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and b"ray::MapWorker" in (entry / "cmdline").read_bytes():
                found += [int(entry.name)] * (session in str((entry / "fd" / "1").readlink()))
    return found
