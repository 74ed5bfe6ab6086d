"""The page of ``predict_simple_sequence.py --page`` in a browser: it computes what Python computes,
and does what a visitor asks for.
"""

import json

import chainer
import numpy as np
import pytest

import predict_simple_sequence
import train_simple_sequence
from counting.lies import Answer, changed_runs, other_numbers, read_lies
from counting.scores import periods
from models import ARCHS
from models.generation import generate
from models.model_file import load_model, save_model

pytestmark = pytest.mark.browser
each_arch = pytest.mark.parametrize("arch", ARCHS)
TEXT = "to be or not to be, that is <the> question </script> & so on\n" * 20


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Train and write a page: ``made("rnn")`` gives the page's address and the model."""
    pages = {}

    def make(arch, *options):
        if (arch, options) not in pages:
            folder = tmp_path_factory.mktemp(arch)
            model, page = folder / f"{arch}_simple_sequence.model", folder / "counter.html"
            assert train_simple_sequence.main(["-a", arch, "-o", str(folder), *options]) == 0
            assert predict_simple_sequence.main(["-m", str(model), "--page", str(page)]) == 0
            assert page.stat().st_size < 3e6
            pages[arch, options] = page.as_uri(), load_model(str(model))[1]
        return pages[arch, options]

    return make


@pytest.fixture
def opened(made, browser):
    """Open the page of a model in the browser; give the model. The page must not complain."""

    def open_page(arch, *options, width=1280, dark=False):
        address, model = made(arch, *options)
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        browser.get_log("performance")
        browser.get(address)
        return model

    yield open_page
    assert browser.get_log("browser") == []


def click(browser, name):
    browser.find_element("id", name).click()


def text_of(browser, name):
    return browser.find_element("id", name).text


def tell(browser, number):
    browser.find_element("css selector", f'#next button[data-id="{number}"]').click()


def tiles(browser, kind):
    """The numbers in the picture of the sequence that are marked so."""
    found = browser.find_elements("css selector", f"#sequence .{kind}")
    return [int(tile.get_attribute("data-token")) for tile in found]


@each_arch
def test_logits_are_those_of_python(opened, browser, arch):
    model = opened(arch)
    tokens = periods(10, 2)[:-1]
    with chainer.using_config("train", False), chainer.no_backprop_mode():
        model.reset_state()
        expected = model(tokens[:, np.newaxis]).array
        model.reset_state()
    logits = browser.execute_script(
        "const network = new Network(data);"
        "return arguments[0].map((id) => Array.from(network.step(id)));",
        tokens.tolist(),
    )
    assert abs(np.array(logits) - expected).max() < 1e-4


@pytest.mark.parametrize("arch", ["rnn", "gru"])
def test_answers_to_lies_are_those_of_python(opened, browser, arch):
    model = opened(arch)
    lies = [*other_numbers(10), *changed_runs(10)]
    expected = [outcome.answer for outcome in read_lies(model, lies).values()]
    answers = browser.execute_script(
        """
        const network = new Network(data);
        return arguments[0].map(([place, told]) => {
          const one = new Sequence(data.tokens.length, true);
          network.reset();
          const true_ = [...one.period, ...one.period, ...one.period.slice(0, place)];
          let logits;
          for (const id of true_) one.goOn(id), logits = network.step(id);
          for (const id of told) one.told(id, 0), logits = network.step(id);
          for (let k = 0; k < 60 && !one.lie.answer; k++) {
            const id = mostLikely(logits);
            one.written(id);
            logits = network.step(id);
          }
          return one.lie.answer;
        });
        """,
        [[lie.place, lie.told] for lie in lies],
    )
    names = {"kept": Answer.KEPT, "anew": Answer.ANEW, "lost": Answer.LOST}
    assert [names[answer] for answer in answers] == expected
    assert len(set(answers)) > 1


def test_a_lie_is_told_by_a_click_and_read_back(opened, browser):
    opened("rnn3")
    for _ in range(6):
        click(browser, "step")
    assert tiles(browser, "due") == [4] and tiles(browser, "lie") == []
    tell(browser, 7)
    assert tiles(browser, "lie") == [7]
    assert text_of(browser, "verdict") == "Told 7 in place of 4 … what will it do?"
    for _ in range(5):
        click(browser, "step")
    assert text_of(browser, "verdict").startswith("Told 7 in place of 4, it wrote 4 4 4 4")
    assert text_of(browser, "verdict").endswith(": it kept its place.")
    assert "kept its place 1" in text_of(browser, "tally")
    click(browser, "reset")
    assert tiles(browser, "lie") == [] and text_of(browser, "tally") == ""


def test_its_first_mistake_is_marked(opened, browser):
    model = opened("rnn")
    tokens = periods(10, 3)
    written = generate(model, tokens[:90], 46)[90:]
    wrong = int(np.flatnonzero(written != tokens[90:])[0])  # after ten epochs there is one
    for _ in range(wrong):
        click(browser, "step")
    assert tiles(browser, "mistake") == []
    click(browser, "step")
    assert tiles(browser, "mistake") == [written[wrong]]


def test_who_has_learnt_no_order_makes_no_mistake_in_it(opened, browser):
    opened("gru", "--shuffle-runs", "-e", "1", "--repeat", "300", "-b", "30", "--lr", "0.01")
    assert "in random order" in text_of(browser, "about")
    mistakes = browser.execute_script(
        """
        const one = new Sequence(data.tokens.length, data.ordered);
        return [1, 4, 4, 4, 4, 2, 2, 9, 2, 2, 2].map((id) => one.written(id));
        """
    )
    assert mistakes == [False] * 8 + [True, False, True]


def test_an_older_file_does_not_say_in_which_order(browser, tmp_path):
    save_model(str(tmp_path / "old.model"), ARCHS["rnn"](10, 5))
    page = tmp_path / "counter.html"
    assert (
        predict_simple_sequence.main(["-m", str(tmp_path / "old.model"), "--page", str(page)]) == 0
    )
    browser.get(page.as_uri())
    assert "its older file does not say in which order" in text_of(browser, "about")
    assert browser.execute_script("return sequence.ordered") is None


def test_numbers_can_be_typed_and_wrong_ones_are_refused(opened, browser):
    opened("rnn")
    field = browser.find_element("id", "words")
    field.send_keys("1 2, 2 x\n")
    assert text_of(browser, "refusal") == "It does not know x; it knows 1 to 9."
    field.clear()
    field.send_keys("1 2, 2\n")
    assert text_of(browser, "refusal") == ""
    assert tiles(browser, "told") == [1, 2, 2] and tiles(browser, "lie") == []


def test_keys_step_tell_run_and_reset(opened, browser):
    def press(key):
        webdriver = pytest.importorskip("selenium.webdriver")
        webdriver.ActionChains(browser).send_keys(key).perform()

    opened("rnn3")
    press("\ue014")  # arrow to the right
    assert tiles(browser, "due") == [2]
    press("7")
    assert tiles(browser, "lie") == [7]
    press("r")
    assert text_of(browser, "run") == "Pause"
    press("r")
    assert text_of(browser, "run") == "Run"
    press("\ue00c")  # escape
    assert tiles(browser, "lie") == []


def test_the_demonstration_tells_a_lie_and_stops(opened, browser):
    opened("rnn3")
    browser.execute_script("document.getElementById('speed').value = 30")
    click(browser, "demo")
    browser.execute_async_script(
        "const [done] = arguments;"
        "const ended = () => sequence.lie?.answer && timer === null;"
        "const wait = () => (ended() ? done() : setTimeout(wait, 20));"
        "wait();"
    )
    assert text_of(browser, "verdict").startswith("Told 7 in place of 4, it wrote 4 4 4 ")
    assert text_of(browser, "verdict").endswith("5: it kept its place.")


def test_another_layer_and_another_unit_can_be_chosen(opened, browser):
    opened("lstm")
    before = browser.execute_script("return document.getElementById('path').innerHTML")
    browser.find_elements("css selector", "#path-card .layers button")[1].click()
    assert browser.execute_script("return document.getElementById('path').innerHTML") != before
    first, second = browser.find_elements("css selector", "#units button")[:2]
    first.send_keys("\ue014")
    assert second.get_attribute("aria-pressed") == "true"
    assert text_of(browser, "curve-note").startswith(second.accessible_name.split(":")[0])


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("arch", ["rnn", "rnn3"])
def test_nothing_is_wider_than_the_window_and_every_control_has_a_name(
    opened, browser, arch, width
):
    opened(arch, width=width, dark=width == 390)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    for control in browser.find_elements("css selector", "button, input"):
        assert control.accessible_name or not control.is_displayed()


def test_nothing_is_fetched(opened, browser):
    opened("rnn")
    click(browser, "step")
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    sent = [m for m in messages if m["method"] == "Network.requestWillBeSent"]
    addresses = {message["params"]["request"]["url"] for message in sent}
    assert len(addresses) >= 1
    assert {address.split(":")[0] for address in addresses} <= {"file", "data"}


@pytest.mark.parametrize("tokens", ["char", "word"])
def test_a_model_of_ones_own_text_shows_text(opened, browser, tmp_path_factory, tokens):
    path = tmp_path_factory.getbasetemp() / "text"
    path.write_text(TEXT)
    opened("rnn", "--data", str(path), "--tokens", tokens, "-u", "20", "-b", "5")
    assert not browser.find_element("id", "path-card").is_displayed()
    field = browser.find_element("id", "words")
    field.send_keys("<the>\n")
    told = browser.find_elements("css selector", "#sequence .told")
    assert "".join(one.text for one in told).strip() == "<the>"
    click(browser, "step")
    assert len(browser.find_elements("css selector", "#next button")) > 5
    field.send_keys("ß\n")
    assert text_of(browser, "refusal") == "It does not know ß."


def test_words_that_javascript_knows_and_words_with_commas(opened, browser, tmp_path_factory):
    words = ["constructor", "toString", "__proto__", "hasOwnProperty", "a,b", "&lt;", "<b>"]
    path = tmp_path_factory.getbasetemp() / "words"
    path.write_text((" ".join(words) + "\n") * 60)
    opened("rnn", "--data", str(path), "--tokens", "word", "-u", "20", "-b", "5", "-e", "2")
    shown = browser.find_elements("css selector", "#next button")
    assert sorted(each.text.split("\n")[-1] for each in shown) == sorted([*words, "⏎"])
    for _ in range(8):
        click(browser, "step")
    for word in words:
        browser.find_element("id", "words").send_keys(f"{word} {word}\n")
        assert text_of(browser, "refusal") == ""
        told = browser.find_elements("css selector", "#sequence .told")
        assert [each.text.strip() for each in told[-2:]] == [word, word]
    browser.find_element("id", "words").send_keys("valueOf\n")
    assert text_of(browser, "refusal") == "It does not know valueOf."
