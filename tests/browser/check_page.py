"""Looks at a report in headless Chromium, as a person would.

    python tests/browser/check_page.py PAGE.html [--shots FOLDER]

No console error, every figure present, hover and arrow keys show values, buttons and theme work, nothing runs
off a narrow screen, nothing is asked of the network. Needs selenium (pip install selenium), chromium and
chromedriver.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys


def driver():
    options = webdriver.ChromeOptions()
    for flag in [
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tempfile.mkdtemp()}",
    ]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.binary_location = shutil.which("chromium") or sys.exit("install chromium")
    driver = shutil.which("chromedriver") or sys.exit("install chromedriver")
    return webdriver.Chrome(options, webdriver.ChromeService(driver))


def check(browser, url, shots):
    def resize(width, height):
        # A window is never narrower than 500; the device's metrics are what a phone has.
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def shot(name):
        if shots:
            height = browser.execute_script("return document.documentElement.scrollHeight")
            resize(browser.execute_script("return innerWidth"), height)
            browser.save_screenshot(str(shots / f"{name}.png"))

    resize(1200, 900)
    browser.get(url)
    figures = browser.find_elements(By.CSS_SELECTOR, "figure")
    drawn = browser.find_elements(By.CSS_SELECTOR, "figure svg path, figure canvas")
    print(f"{len(figures)} figures, {len(drawn)} curves and canvases")
    assert len(figures) >= 8 and len(drawn) >= 10
    assert browser.find_elements(By.CSS_SELECTOR, ".verdict li"), "no verdict"

    first = browser.find_element(By.CSS_SELECTOR, "#curves figure")
    tip = lambda: browser.find_element(By.CSS_SELECTOR, "#curves figure .tip")
    assert not tip().is_displayed()
    ActionChains(browser).move_to_element(first).perform()
    assert tip().is_displayed() and "%" in tip().text, "hovering shows nothing"
    before = tip().text
    ActionChains(browser).move_to_element_with_offset(first, 200, 0).perform()
    assert tip().text != before, "hovering elsewhere shows the same"
    first.click()
    first.send_keys(Keys.ARROW_LEFT)
    assert tip().is_displayed()

    label = lambda: browser.find_element(By.CSS_SELECTOR, "#curves svg").text
    for name, text in [("time", "training time"), ("energy evaluations", "energy evaluations")]:
        browser.find_element(By.XPATH, f"//button[text()='{name}']").click()
        assert text in label(), label()
    button = lambda: browser.find_element(By.XPATH, "//button[text()='logarithmic']")
    button().click()
    assert button().get_attribute("aria-pressed") == "true"
    button().send_keys(Keys.ENTER)
    assert button().get_attribute("aria-pressed") == "false"
    browser.find_element(By.XPATH, "//button[text()='next']").click()
    assert "2 of" in browser.find_element(By.TAG_NAME, "main").text

    background = lambda: browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    shot("light")
    light = background()
    browser.find_element(By.ID, "theme").click()
    assert background() != light, "the dark theme looks like the light one"
    shot("dark")
    for width in [400, 320]:
        resize(width, 900)
        wide = browser.execute_script("return document.documentElement.scrollWidth")
        assert wide <= width, f"{wide} pixels on a screen of {width}"
        if width == 400:
            shot("phone")

    asked = browser.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert not [name for name in asked if not name.startswith("data:")], asked
    errors = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert not errors, errors
    print("the page is as it should be")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("page", type=Path)
    parser.add_argument("--shots", type=Path)
    options = parser.parse_args()
    browser = driver()
    try:
        check(browser, options.page.resolve().as_uri(), options.shots)
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
