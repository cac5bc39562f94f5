"""Rows of every supported shape become samples; rows that cannot, are named."""

import json
from pathlib import Path

import pytest
from PIL import Image

from armbench.errors import DataError
from armbench.images import ImageStore
from armbench.task import BadRow, Task, TaskSpec, load_task
from armbench.types import Sample

SHARED = Path(__file__).parents[3] / "shared" / "data"

ROW = {
    "idx": 3,
    "id": 17,
    "question": "What is on the sign?",
    "preds": ["STOP", "GO"],
    "images": ["images/a.png"],
    "gt": "1",
    "rm_tag": "2-way-pair_rm",
}


def rows(tmp_path: Path, lines: list[object], loader: str = "armbench") -> list[Sample | BadRow]:
    (tmp_path / "images").mkdir(exist_ok=True)
    Image.new("RGB", (8, 6)).save(tmp_path / "images" / "a.png")
    file = tmp_path / "items.jsonl"
    text = "\n".join(v if isinstance(v, str) else json.dumps(v) for v in lines)
    file.write_text(text + "\n", "utf-8")
    spec = TaskSpec(task="t", loader=loader)
    return list(Task(spec, str(file)).rows(ImageStore()))


def only(tmp_path: Path, row: dict, loader: str = "armbench") -> Sample:
    (sample,) = rows(tmp_path, [row], loader)
    assert isinstance(sample, Sample), sample
    return sample


def problem(tmp_path: Path, **changes: object) -> str:
    """The message for a row that differs from a good one."""
    good = {**ROW, "id": "good"}
    found = rows(tmp_path, [good, {**ROW, **changes}])
    assert isinstance(found[0], Sample)
    assert isinstance(found[1], BadRow)
    return found[1].message


class TestPublishedRows:
    def test_fields(self, tmp_path):
        sample = only(tmp_path, ROW)
        assert (sample.id, sample.mode, sample.format) == ("17", "pair", "2-way-pair_rm")
        assert sample.candidates == ("STOP", "GO")
        assert sample.gold == 1
        assert sample.text == "What is on the sign?"
        assert [(i.width, i.height) for i in sample.images] == [(8, 6)]

    @pytest.mark.parametrize(
        ("gt", "gold"), [("True", True), (True, True), ("false", False), (False, False)]
    )
    def test_gold_of_single_rows_may_be_text_or_bool(self, tmp_path, gt, gold):
        sample = only(tmp_path, {**ROW, "rm_tag": "single_rm", "preds": ["STOP"], "gt": gt})
        assert sample.mode == "single"
        assert sample.gold is gold

    @pytest.mark.parametrize("gt", ["2", 2, " 2 "])
    def test_gold_of_pair_rows_may_be_text_or_number(self, tmp_path, gt):
        assert only(tmp_path, {**ROW, "gt": gt}).gold == 2

    @pytest.mark.parametrize("row_id", [17, "relpos-cb8b258c", "017"])
    def test_ids_of_mixed_types_stay_apart(self, tmp_path, row_id):
        assert only(tmp_path, {**ROW, "id": row_id}).id == str(row_id)

    def test_every_constraint_is_kept(self, tmp_path):
        constraints = [{"value": "one"}, {"value": "two"}, "three"]
        sample = only(tmp_path, {**ROW, "constraints": constraints})
        assert sample.constraints == ("one", "two", "three")

    def test_document_and_cluster(self, tmp_path):
        sample = only(tmp_path, {**ROW, "doc_id": "report.pdf"})
        assert sample.documents == ("report.pdf",)
        assert sample.cluster == "report.pdf"

    def test_rating(self, tmp_path):
        row = {**ROW, "rm_tag": "rating", "preds": ["x"], "gt": "3", "scale": [0, 5]}
        sample = only(tmp_path, row)
        assert (sample.mode, sample.gold, sample.scale) == ("rating", 3.0, (0.0, 5.0))


class TestBadRows:
    def test_gold_outside_the_candidates(self, tmp_path):
        assert "answers are 1 to 2" in problem(tmp_path, gt="3")
        assert "answers are 1 to 2" in problem(tmp_path, gt="0")

    def test_number_of_candidates(self, tmp_path):
        assert "has 4 answers, not 2" in problem(tmp_path, rm_tag="4-way-pair_rm")

    def test_unknown_tag(self, tmp_path):
        assert "unknown rm_tag 'five'" in problem(tmp_path, rm_tag="five")

    def test_single_needs_true_or_false(self, tmp_path):
        assert "True or False" in problem(tmp_path, rm_tag="single_rm", preds=["a"], gt="1")

    def test_missing_picture(self, tmp_path):
        assert "'images/b.png' is missing" in problem(tmp_path, images=["images/b.png"])

    @pytest.mark.parametrize("name", ["../secret.png", "/etc/passwd", "images/../../x", "a\0b"])
    def test_pictures_resolve_inside_the_folder(self, tmp_path, name):
        message = problem(tmp_path, images=[name])
        assert "outside" in message or "NUL" in message

    def test_symlink_out_of_the_folder(self, tmp_path):
        outside = tmp_path.parent / "outside.png"
        Image.new("RGB", (2, 2)).save(outside)
        (tmp_path / "images").mkdir()
        (tmp_path / "images" / "link.png").symlink_to(outside)
        assert "outside" in problem(tmp_path, images=["images/link.png"])

    def test_broken_picture(self, tmp_path):
        (tmp_path / "broken.png").write_bytes(b"no picture")
        assert "not a readable picture" in problem(tmp_path, images=["broken.png"])

    def test_missing_field_and_broken_line_are_numbered(self, tmp_path):
        found = rows(tmp_path, [{**ROW, "id": "a"}, {"id": "b"}, "{not json", "[1]"])
        messages = [row.message for row in found if isinstance(row, BadRow)]
        assert messages[0] == "line 2: the field 'rm_tag' is missing"
        assert messages[1].startswith("line 3: ")
        assert messages[2] == "line 4: the line is no JSON object"

    def test_duplicate_ids(self, tmp_path):
        found = rows(tmp_path, [ROW, ROW])
        assert isinstance(found[1], BadRow)
        assert "occurs twice" in found[1].message

    def test_nothing_usable_is_an_error(self, tmp_path):
        with pytest.raises(DataError, match="holds no usable row"):
            rows(tmp_path, [{"id": 1}])


class TestOwnData:
    def test_pairs(self, tmp_path):
        row = {"instruction": "Say hi", "output_1": "hi", "output_2": "no", "gold": 2}
        sample = only(tmp_path, row, "pairs")
        assert (sample.candidates, sample.gold) == (("hi", "no"), 2)
        assert sample.id == "line-1"

    def test_what_people_said_is_kept_apart_from_gold(self, tmp_path):
        row = {"question": "q", "candidates": ["a", "b", "c"], "gold": 1, "human": "3"}
        sample = only(tmp_path, row, "pairs")
        assert (sample.gold, sample.meta["human"]) == (1, 3)
        checked = {"prompt": "p", "response": "r", "human": False}
        assert only(tmp_path, checked, "constraints").meta["human"] is False
        assert "human" not in only(tmp_path, {**row, "human": None}, "pairs").meta

    @pytest.mark.parametrize(
        ("said", "loader"), [(4, "pairs"), (True, "pairs"), (1, "constraints")]
    )
    def test_what_people_cannot_have_said_is_named(self, tmp_path, said, loader):
        row = {"question": "q", "candidates": ["a", "b"], "prompt": "p", "response": "r"}
        good, bad = rows(tmp_path, [row | {"id": 1}, row | {"human": said}], loader)
        assert isinstance(good, Sample)
        assert bad.message.startswith("line 2: human is ")

    def test_pairs_with_a_list_and_no_label(self, tmp_path):
        sample = only(tmp_path, {"question": "?", "candidates": ["a", "b", "c"]}, "pairs")
        assert sample.format == "3-way-pair_rm"
        assert sample.gold is None

    def test_constraints(self, tmp_path):
        row = {
            "key": 1,
            "prompt": "No commas.",
            "instruction_id_list": ["punctuation:no_comma"],
            "kwargs": [{}],
            "response": "fine",
        }
        sample = only(tmp_path, row, "constraints")
        assert (sample.mode, sample.category) == ("single", "punctuation")
        assert sample.gold is True
        assert sample.meta["gold_source"] == "checkers"
        assert sample.constraints == ('Do not use the sign "," anywhere.',)
        assert only(tmp_path, {**row, "response": "no, not so"}, "constraints").gold is False
        assert only(tmp_path, {**row, "gold": False}, "constraints").meta["gold_source"] == "row"

    def test_constraints_without_a_checker_have_no_gold(self, tmp_path):
        row = {
            "prompt": "In French.",
            "instruction_id_list": ["language:response_language"],
            "kwargs": [{"language": "fr"}],
            "response": "Oui.",
        }
        assert only(tmp_path, row, "constraints").gold is None

    def test_image_qa(self, tmp_path):
        row = {
            "image": "images/a.png",
            "question": "?",
            "answer": "3",
            "wrong_answers": ["2", "4"],
            "region": [0, 0, 10, 10],
        }
        sample = only(tmp_path, row, "image_qa")
        assert (sample.candidates, sample.gold) == (("3", "2", "4"), 1)
        assert sample.meta == {"evidence": {"region": [0, 0, 10, 10]}}

    @pytest.mark.parametrize(
        ("task", "folder", "count"),
        [
            ("judge_pairs", "pairs", 160),
            ("judge_constraints", "constraints", 270),
            ("judge_document_qa", "documents", 60),
            ("judge_image_qa", "images", 36),
        ],
    )
    def test_real_files(self, task, folder, count):
        if not SHARED.is_dir():
            pytest.skip(f"real inputs are not beside the checkout ({SHARED})")
        found = list(load_task(task, str(SHARED / folder)).rows(ImageStore()))
        assert [row for row in found if isinstance(row, BadRow)] == []
        assert len(found) == count


class TestFindingData:
    def test_own_data_has_to_be_given(self):
        with pytest.raises(DataError, match="pass --data PATH"):
            load_task("judge_pairs").path()

    def test_missing_file(self, tmp_path):
        with pytest.raises(DataError, match="no data file"):
            load_task("judge_pairs", str(tmp_path / "nope.jsonl")).path()

    def test_published_data_from_the_environment(self, tmp_path, monkeypatch):
        file = tmp_path / "fine_grained_perception.jsonl"
        file.write_text("{}\n")
        monkeypatch.setenv("ARMBENCH_DATA", str(tmp_path))
        assert load_task("armbench_vl_fine_grained").path() == file

    def test_published_data_missing_says_how_to_get_it(self, tmp_path, monkeypatch):
        monkeypatch.setenv("ARMBENCH_DATA", str(tmp_path))
        with pytest.raises(DataError, match=r"ChrisDing1105/ARMBench-VL.*ARMBENCH_DATA"):
            load_task("armbench_vl_fine_grained").path()

    def test_published_files_may_lie_in_a_folder_of_the_repository(self, tmp_path, monkeypatch):
        (tmp_path / "data").mkdir()
        (tmp_path / "images").mkdir()
        Image.new("RGB", (8, 6)).save(tmp_path / "images" / "a.png")
        file = tmp_path / "data" / "fine_grained_perception.jsonl"
        file.write_text(json.dumps(ROW) + "\n")
        monkeypatch.setenv("ARMBENCH_DATA", str(tmp_path))
        task = load_task("armbench_vl_fine_grained")
        assert task.path() == file
        (row,) = task.rows(ImageStore())
        assert isinstance(row, Sample)

    def test_hub_offline_says_how_to_get_it(self, monkeypatch):
        pytest.importorskip("huggingface_hub")
        monkeypatch.delenv("ARMBENCH_DATA", raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        with pytest.raises(DataError, match="set ARMBENCH_DATA to its folder"):
            load_task("armbench_vl_fine_grained").path()
