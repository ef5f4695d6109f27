"""The fleet page in a real browser: what people see and can do."""

from dataclasses import replace

import pytest

from devvm.cli.fleet import fleet_serializers
from devvm.domain.rollout.state import VmState
from devvm.html import fleet_report
from tests.container.browser import browser
from tests.support import made_up_fleet

pytestmark = pytest.mark.container

#: The names of the listed VMs, in order.
SHOWN = """[...document.querySelectorAll("#list tbody tr")]
    .filter((row) => row.checkVisibility()).map((row) => row.dataset.name)"""
STATUS = "document.querySelector('#status').textContent"
WIDTHS = (320, 420, 600, 800, 1000, 1280, 1920)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chromium")
    with browser(folder / "profile", folder / "log") as started:
        yield started


@pytest.fixture(scope="session")
def url(tmp_path_factory):
    page = tmp_path_factory.mktemp("page") / "fleet.html"
    page.write_text(fleet_report.render(fleet_serializers.overview(made_up_fleet.overview(60))))
    return page.as_uri()


@pytest.fixture
def shown(chromium, url):
    """Open the page with a fragment; in the end, the browser must not have complained."""

    def show(fragment="", width=1280, **look):
        chromium.look(width, **look)
        chromium.open(url + fragment)
        return chromium

    chromium.complaints.clear()
    chromium.requests.clear()
    yield show
    assert chromium.complaints == []
    asked_for = {address.partition("#")[0] for address in chromium.requests}
    assert asked_for <= {url, "about:blank"}, "it loads nothing but itself"


def names(numbers):
    return [f"dev{number}" for number in numbers]


def test_all_is_there(shown):
    page = shown()
    assert page.evaluate(SHOWN) == names(range(1, 61))
    assert page.evaluate(STATUS) == "60 VMs"
    text = page.evaluate("document.body.innerText")
    for words in (
        "60 VMs: 18 behind the latest release, 8 differ from production",
        "MariaDB 10.11.6 → 10.11.11",
        "failed 1 parity: unit/redis-server.service differs; put back",
        "32 GiB free of 176 GiB",
        "demo for the sales team on Friday",
    ):
        assert words in text
    assert "0007_team" in text, "what the latest release brought is open"
    assert "openssl" not in text, "what an earlier one brought is not"


def test_bars_have_their_widths(shown):
    bar = shown().evaluate(
        """[...document.querySelector(".release .meter").children]
        .map((part) => part.getBoundingClientRect().width)"""
    )
    assert len(bar) == 3
    assert bar[0] / sum(bar) == pytest.approx(32 / 40, abs=0.01)


@pytest.mark.parametrize(
    ("fragment", "status"),
    [
        ("#updates=behind", "18 of 60 VMs"),
        ("#updates=pinned", "3 of 60 VMs"),
        ("#parity=differs", "8 of 60 VMs"),
        ("#state=shut%20off", "6 of 60 VMs"),
        (f"#release={made_up_fleet.UNKNOWN}", "2 of 60 VMs"),
        ("#q=engineer5", "8 of 60 VMs"),
        ("#q=dev5+running", "0 of 60 VMs"),
        ("#q=dev5%20behind", "3 of 60 VMs"),
        ("#updates=behind&parity=differs", "3 of 60 VMs"),
        (
            "#check=unit/redis-server.service",
            "8 of 60 VMs where unit/redis-server.service fails",
        ),
        ("#check=no/such", "60 VMs"),
        ("#state=no-such", "60 VMs"),
        ("#vm=nobody", "There is no VM nobody in this report."),
        ("#q=%E0%A4%A", "0 of 60 VMs"),
    ],
)
def test_a_link_shows_what_its_sender_saw(shown, fragment, status):
    page = shown(fragment)
    assert page.evaluate(STATUS) == status
    if status[0].isdigit():
        assert len(page.evaluate(SHOWN)) == int(status.split()[0])


def test_a_link_to_a_vm_leads_to_it(shown):
    page = shown("#vm=dev42")
    box = page.evaluate(
        """(() => { const row = document.querySelector("tr.target").getBoundingClientRect();
        return [row.top, row.bottom, innerHeight]; })()"""
    )
    assert 0 <= box[0] < box[1] <= box[2]


def test_what_is_typed_is_looked_for_and_is_in_the_address(shown):
    page = shown()
    page.click("#q")
    page.type("dev1")
    assert page.evaluate(SHOWN) == names([1, *range(10, 20)])
    assert page.evaluate("location.hash") == "#q=dev1"
    page.type("7")
    assert page.evaluate(SHOWN) == ["dev17"]
    page.click("#clear")
    assert page.evaluate(SHOWN) == names(range(1, 61))
    assert page.evaluate("[location.hash, document.activeElement.id]") == ["", "q"]
    page.type("nobody has this")
    assert page.evaluate(SHOWN) == []
    assert page.evaluate("document.querySelector('#nobody').checkVisibility()")


def test_a_number_at_the_top_shows_which_vms_it_counts(shown):
    page = shown()
    page.click("a.tile[href='#parity=differs']")
    page.wait(f"{STATUS} === '8 of 60 VMs'")
    assert page.evaluate(SHOWN) == names(range(7, 61, 7))
    current = "document.querySelector('.tile[aria-current=true] span').textContent"
    assert page.evaluate(current) == "Differ"
    assert page.evaluate("document.querySelector('#list').getBoundingClientRect().top < 100")
    page.click("#clear")
    page.click("a.tile[href='#parity=differs']")
    page.wait(f"{STATUS} === '8 of 60 VMs'")


def test_it_is_sorted_by_a_heading(shown):
    page = shown()
    page.click("th[data-key=disk] button")
    disks = page.evaluate(
        """[...document.querySelectorAll("#list tbody tr")]
        .map((row) => Number(row.cells[5].dataset.v))"""
    )
    assert disks == sorted(disks)
    assert page.evaluate("location.hash") == "#sort=disk"
    page.click("th[data-key=disk] button")
    assert page.evaluate("document.querySelector('[aria-sort]').ariaSort") == "descending"
    again = shown("#sort=-behind&updates=behind")
    assert again.evaluate(SHOWN)[:3] == names([6, 16, 26])


def test_it_works_without_a_mouse(shown):
    page = shown()
    page.evaluate("document.querySelector('.check summary').focus()")
    page.press("Enter")
    page.wait("document.querySelector('.check').open")
    page.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Show in the list"
    page.press("Enter")
    page.wait(f"{STATUS}.startsWith('8 of 60 VMs where')")


def beyond(page):
    """Elements wider than the window, with everything expanded."""
    return page.evaluate(
        """(() => {
          document.querySelectorAll("details").forEach((each) => { each.open = true; });
          return [...document.querySelectorAll("body *")].filter((node) => node.checkVisibility()
            && !node.closest(".skip") && node.getBoundingClientRect().right > innerWidth + 0.5)
            .map((node) => node.outerHTML.slice(0, 100));
        })()"""
    )


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window(shown, tmp_path, width, dark):
    page = shown(width=width, dark=dark)
    assert beyond(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000


@pytest.mark.parametrize("width", WIDTHS)
def test_nor_is_what_has_no_end(chromium, tmp_path, width):
    fleet, word = made_up_fleet.overview(10), "x" * 200
    one, line, name = fleet.vms[0], fleet.releases[0], "n" * 32
    facts = replace(
        one.vm.metadata, engineer="e" * 32, pinned_until="2099-12-04", pin_reason=word,
        update_to=line.release,
    )  # fmt: skip
    vm = replace(one, vm=replace(one.vm, name=name, metadata=facts))
    record = replace(line.record, note=word, changes=(word,), created_by="e" * 32)
    going = made_up_fleet.rollout("20261125-1", line.release, {word: [name]}, started_at=fleet.at)
    failed = replace(going.vms[name], state=VmState.FAILED, why=word)
    long = replace(
        fleet, vms=(vm,), releases=(replace(line, record=record),),
        rollouts=(replace(going, vms={name: failed}),),
        checks=(replace(fleet.checks[0], check=word, message=word, vms=(name,)),),
        hosts=(replace(fleet.hosts[0], uri=f"qemu+ssh://{word}/system"),),
    )  # fmt: skip
    file = tmp_path / "fleet.html"
    file.write_text(fleet_report.render(fleet_serializers.overview(long)))
    chromium.look(width)
    chromium.open(file.as_uri())
    assert beyond(chromium) == []


def contrast(page, selector):
    """The contrast of a text with its background (WCAG 2)."""
    return page.evaluate(
        f"""(() => {{
          const light = (colour) => colour.match(/[0-9.]+/g).slice(0, 3)
            .map((part) => part / 255)
            .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0);
          const node = document.querySelector({selector!r});
          let at = node;
          const behind = () => getComputedStyle(at).backgroundColor;
          while (behind() === "rgba(0, 0, 0, 0)") at = at.parentElement;
          const both = [light(getComputedStyle(node).color), light(behind())];
          return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
        }})()"""
    )


@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_read_by_day_and_by_night(shown, dark):
    page = shown(dark=dark)
    for selector in (
        "h1", ".verdict", ".tile b", ".tile span", ".meta", ".badge", ".legend", ".message",
        "#list small", "#list .kind.good", "#list .kind.bad", "#list .kind.odd", "footer dd",
    ):  # fmt: skip
        assert contrast(page, selector) >= 4.5, selector


def test_on_paper_it_is_a_table_in_black_on_white(shown):
    page = shown(width=718, dark=True, media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert (
        page.evaluate("getComputedStyle(document.querySelector('#list tr')).display") == "table-row"
    )
    assert not page.evaluate("document.querySelector('#bar').checkVisibility()")
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert page.pdf().startswith(b"%PDF")


def test_without_scripts_all_is_there_too(chromium, url):
    chromium.scripts(on=False)
    try:
        chromium.open(url)
        assert len(chromium.evaluate(SHOWN)) == 60
        assert not chromium.evaluate("document.querySelector('#bar').checkVisibility()")
    finally:
        chromium.scripts(on=True)


def test_a_fleet_of_five_hundred_is_quick(chromium, tmp_path):
    page = tmp_path / "fleet.html"
    page.write_text(fleet_report.render(fleet_serializers.overview(made_up_fleet.overview(500))))
    chromium.look(1280)
    chromium.open(page.as_uri())
    assert len(chromium.evaluate(SHOWN)) == 500
    longest = chromium.evaluate(
        """(() => {
          const field = document.querySelector("#q");
          return Math.max(...["d", "de", "dev", "dev4", "dev42", ""].map((text) => {
            const begun = performance.now();
            field.value = text;
            field.dispatchEvent(new Event("input"));
            document.body.getBoundingClientRect();
            return performance.now() - begun;
          }));
        })()"""
    )
    assert longest < 1000, "milliseconds, for a keystroke, on a slow machine"
