"""Folders as readers have them: what is looked at, classes, and a split that keeps test images unseen."""

import shutil
import unicodedata

import pytest
import torch
from PIL import Image

from helpers import data
from helpers.data.folder import class_names


def put(path, gray=0, size=(6, 6)):
    """A gray image at `path`, whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, gray).save(path)
    return path


def fill(folder, n, start=0):
    """n images, all different."""
    for i in range(start, start + n):
        put(folder / f"{i:03}.png", i)
    return folder


def grays(folder, split="train", **form):
    """The gray level of each image of a split."""
    return data.load(folder, split, **form).images[:, 0, 0, 0].tolist()


@pytest.fixture
def split(tmp_path):
    """train/ and test/, a class each."""
    put(tmp_path / "train" / "cat" / "a.png", 10)
    put(tmp_path / "test" / "cat" / "a.png", 20)
    return tmp_path


def test_hidden_foreign_and_left_behind_files_are_not_looked_at(split):
    train = split / "train"
    for other in (".ipynb_checkpoints/a.png", "cat/.ipynb_checkpoints/a.png", "__MACOSX/cat/a.png", ".hidden/a.png"):
        put(train / other, 99)
    for junk in ("cat/._a.png", "cat/.DS_Store", "cat/Thumbs.db", "notes.txt", "cat/labels.csv", ".b.png"):
        (train / junk).write_bytes(b"\0\5\26\7")
    assert grays(split) == [10] and class_names(split) == ("cat",)


def test_a_folder_below_a_hidden_one_is_read(tmp_path):
    fill(tmp_path / ".cache" / "photos" / "train", 2)
    assert grays(tmp_path / ".cache" / "photos") == [0, 1]


def test_linked_folders_and_files_are_followed_and_circles_end(split, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    put(elsewhere / "dogs" / "a.png", 30)
    put(elsewhere / "b.png", 40)
    (split / "train" / "dog").symlink_to(elsewhere / "dogs")
    (split / "train" / "cat" / "b.png").symlink_to(elsewhere / "b.png")
    (split / "train" / "cat" / "again").symlink_to(split / "train")
    assert grays(split) == [10, 40, 30] and class_names(split) == ("cat", "dog")
    (split / "train" / "cat" / "b.png").unlink()
    (split / "train" / "cat" / "b.png").symlink_to(elsewhere / "gone.png")
    with pytest.raises(ValueError, match=r"cat/b\.png is a link to nothing"):
        data.load(split)


@pytest.mark.parametrize("name", ["Ämter – 猫 🐈.png", unicodedata.normalize("NFD", "é.png"), "a b'\"%.PNG", "a.b.png"])
def test_names_in_any_script(split, name):
    put(split / "train" / "クラス" / name, 50)
    assert grays(split) == [10, 50]
    (split / "train" / "クラス" / name).write_bytes(b"")
    with pytest.raises(ValueError) as error:
        data.load(split)
    assert name in str(error.value)


def test_mixed_sizes_need_a_size(split):
    wide = put(split / "train" / "cat" / "b.png", 60, (12, 6))
    assert data.load(split, size=8).images.shape == (2, 3, 8, 8)
    with pytest.raises(ValueError, match=r"b\.png has 12x6 pixels and a\.png has 6x6: give a size"):
        data.load(split)
    wide.unlink()
    assert data.load(split).images.shape == (1, 3, 6, 6)               # their own size


@pytest.mark.parametrize("form, words", [
    ({"size": 0}, "size is a number of pixels, 1 or more"), ({"size": -3}, "size is a number"),
    ({"size": 28.0}, "size is a number"), ({"size": True}, "size is a number"), ({"size": "28"}, "size is a number"),
    ({"channels": 2}, r"channels are 3 \(RGB\), 1 \(gray\)"), ({"channels": 0}, "channels are")])
def test_a_form_that_images_cannot_have(split, form, words):
    with pytest.raises(ValueError, match=words):
        data.load(split, **form)


def test_a_name_may_say_the_form(split):
    assert data.load(f"{split}@1x28x28").images.shape == (1, 1, 28, 28)
    assert data.load(f"{split}@3x4x4", "test").images.shape == (1, 3, 4, 4)
    with pytest.raises(ValueError, match="1x28x32 is none"):
        data.load(f"{split}@1x28x32")
    with pytest.raises(ValueError, match=r"channels are .* got 4"):
        data.load(f"{split}@4x28x28")
    odd = split.rename(split.with_name("photos@1x2x2"))                # a folder of that very name comes first
    assert data.load(odd).images.shape == (1, 3, 6, 6)


def test_home_and_relative_folders(split, monkeypatch):
    monkeypatch.setenv("HOME", str(split.parent))
    monkeypatch.chdir(split.parent)
    for name in (f"~/{split.name}", split.name, f"./{split.name}", f"{split.name}/", f"~/{split.name}@1x6x6"):
        assert data.load(name).name == split.name and len(data.load(name)) == 1
    monkeypatch.chdir(split)
    assert data.load(".").name == split.name


def test_one_image_none_and_what_is_no_folder(tmp_path, split):
    assert len(data.load(split)) == len(data.load(split, "test")) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty holds no images \(\.bmp, "):
        data.load(tmp_path / "empty")
    (tmp_path / "halves" / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match="halves holds no images in train/"):
        data.load(tmp_path / "halves")
    (tmp_path / "photos.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="photos.zip is a file, not a folder: unpack"):
        data.load(tmp_path / "photos.zip")
    with pytest.raises(ValueError, match="gone is not there"):
        data.load(tmp_path / "gone")


def test_a_picture_that_is_not_read_here_is_not_left_out_in_silence(split):
    (split / "train" / "cat" / "IMG_1.HEIC").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"IMG_1\.HEIC is a picture of a kind that is not read here: convert it"):
        data.load(split)


def test_a_class_has_one_number_in_train_and_test(tmp_path):
    for gray, name in enumerate(("train/cat", "train/dog", "train/frog", "test/cat", "test/frog", "train/big/cat")):
        put(tmp_path / name / "a.png", gray)
    train, test = data.load(tmp_path), data.load(tmp_path, "test")
    assert class_names(tmp_path) == ("big/cat", "cat", "dog", "frog")
    assert train.labels.tolist() == [0, 1, 2, 3] and test.labels.tolist() == [1, 3] and test.labels.dtype == torch.int64


def test_images_in_no_class_folder_are_a_class_of_their_own(tmp_path):
    put(tmp_path / "train" / "a.png", 1)
    put(tmp_path / "train" / "cat" / "a.png", 2)
    assert class_names(tmp_path) == (".", "cat") and data.load(tmp_path).labels.tolist() == [0, 1]


def test_a_folder_without_parts_is_split_by_content(tmp_path):
    fill(tmp_path, 200)
    train, test = grays(tmp_path), grays(tmp_path, "test")
    assert sorted(train + test) == list(range(200)) and 20 <= len(test) <= 60        # 40 expected, deviation 5.7
    pool = grays(tmp_path, "pool")
    assert sorted(pool) == sorted(train) and pool != train


def test_the_split_depends_on_content_alone(tmp_path):
    fill(tmp_path / "a", 100)
    before = set(grays(tmp_path / "a", "test"))
    fill(tmp_path / "a", 50, start=100)                                # others come: nobody changes sides
    assert {gray for gray in grays(tmp_path / "a", "test") if gray < 100} == before
    for i in range(100):                                               # renamed and moved into classes
        put(tmp_path / "b" / f"class{i % 3}" / f"{99 - i}.png", i)
    assert set(grays(tmp_path / "b", "test")) == before


def test_duplicates_stay_on_one_side(tmp_path):
    fill(tmp_path, 60)
    for i in range(60):
        shutil.copy(tmp_path / f"{i:03}.png", tmp_path / f"copy-{i}.png")
        put(tmp_path / "more" / f"{i}.bmp", i)                         # the same picture in another format
    for i in range(5):
        put(tmp_path / f"black-{i}.png", 0)
    train, test = grays(tmp_path), grays(tmp_path, "test")
    assert not set(train) & set(test) and len(train) + len(test) == 185
    assert train.count(train[0]) >= 3


def test_an_empty_side_says_what_to_do(tmp_path):
    put(tmp_path / "a.png", 1)
    with pytest.raises(ValueError, match=r"holds 1 image, none of which .* puts into '(test|train)': add images, or put"):
        for part in ("train", "test"):
            data.load(tmp_path, part)


@pytest.mark.parametrize("given, asked", [("train", "test"), ("test", "train"), ("test", "pool")])
def test_a_part_that_the_reader_did_not_make(tmp_path, given, asked):
    put(tmp_path / given / "a.png")
    with pytest.raises(ValueError, match=f"has images in {given}/ and none in {'test' if asked == 'test' else 'train'}/"):
        data.load(tmp_path, asked)


def test_a_test_image_that_is_trained_on_is_refused(split):
    put(split / "test" / "dog" / "z.png", 10)                          # train/cat/a.png, by another name
    with pytest.raises(ValueError, match=r"test/dog/z\.png is the same image as .*train/cat/a\.png: remove"):
        data.load(split, "test")
    put(split / "test" / "dog" / "y.png", 10)
    with pytest.raises(ValueError, match=r"and 1 more: remove"):
        data.load(split)


def test_a_file_that_changes_is_read_anew_and_one_that_does_not_is_not(split, monkeypatch):
    assert grays(split) == [10]
    put(split / "train" / "cat" / "a.png", 12, (6, 6))
    assert grays(split) == [12]
    from helpers.data import folder

    monkeypatch.setattr(folder, "read_image", lambda *_: pytest.fail("decoded twice"))
    assert grays(split) == [12] and grays(split, "test") == [20]


def test_an_error_is_one_line_with_the_file(split):
    bad = put(split / "train" / "cat" / "b.jpg", 1)
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"train/cat/b\.jpg (cannot be read|is not an image)") as error:
        data.load(split)
    assert "\n" not in str(error.value)
