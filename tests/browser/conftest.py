"""A browser without a window, for the tests marked ``browser``; ``make test-browser`` runs them."""

import shutil

import pytest


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Debian's chromium, driven by selenium; without one of them the run ends in one line."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    try:
        from selenium import webdriver
    except ImportError:
        webdriver = None
    needed = {
        "chromium": chromium,
        "chromedriver (apt-get install chromium chromium-driver)": driver,
        "selenium (pip install -r requirements/browser.txt)": webdriver,
    }
    missing = [name for name, found in needed.items() if not found]
    if missing:
        pytest.exit(f"The page is not tested: there is no {', no '.join(missing)}.", returncode=1)
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless=new",
        "--no-sandbox",  # which root cannot have
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(driver)
    window = webdriver.Chrome(options=options, service=service)
    window.set_script_timeout(60)
    yield window
    window.quit()
