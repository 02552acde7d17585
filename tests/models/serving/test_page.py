"""The page at `/` in a real browser: what it shows, and what its button does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from conftest import TestEnvironment, make_once
from test_serve import Models, Server, models  # noqa: F401 # a fixture

pytestmark = [
    pytest.mark.browser,
    pytest.mark.index,
    pytest.mark.skipif("REPRO_TEST_ALL" not in os.environ, reason="starts a browser; scripts/test-all"),
    pytest.mark.skipif(shutil.which("chromedriver") is None, reason="there is no chromium-driver"),
]
DRIVE = """
import json, sys
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

url, token = sys.argv[1:]
options = webdriver.ChromeOptions()
for each in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"):
    options.add_argument(each)
options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
try:
    wait = WebDriverWait(driver, 30)
    driver.get(url)
    find = lambda name: driver.find_element(By.ID, name)
    said = {}
    if token:
        wait.until(lambda _: find("locked").is_displayed())
        find("token").send_keys(token)
        driver.execute_script("arguments[0].blur()", find("token"))
        wait.until(lambda _: not find("locked").is_displayed())
    wait.until(lambda _: find("body").get_attribute("value"))
    said["title"], said["body"] = driver.title, find("body").get_attribute("value")
    said["routes"] = [each.text for each in driver.find_elements(By.CSS_SELECTOR, "#routes tr td:nth-child(2)")]
    driver.find_element(By.TAG_NAME, "button").click()
    wait.until(lambda _: find("answer").text)
    said["status"], said["answer"] = find("status").text, find("answer").text
    body = find("body")
    body.clear()
    body.send_keys("{")
    driver.find_element(By.TAG_NAME, "button").click()
    wait.until(lambda _: find("answer").text != said["answer"])
    said["refused"] = find("status").text
    events = [json.loads(each["message"])["message"] for each in driver.get_log("performance")]
    said["fetched"] = sorted({each["params"]["request"]["url"] for each in events
                              if each["method"] == "Network.requestWillBeSent"})
    said["console"] = [each["message"] for each in driver.get_log("browser") if "400" not in each["message"]]
    print(json.dumps(said))
finally:
    driver.quit()
"""


@pytest.fixture(scope="module")
def selenium() -> TestEnvironment:
    """What drives a browser."""
    return make_once("selenium", "selenium")


def look(selenium: TestEnvironment, server: Server, tmp_path: Path, token: str = "") -> dict[str, Any]:
    url = f"http://127.0.0.1:{server.port}/"
    done = subprocess.run(
        [selenium.python, "-c", DRIVE, url, token],
        env={**os.environ, "HOME": str(tmp_path), "SE_OFFLINE": "true"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    said["fetched"] = {each.removeprefix(url) for each in said["fetched"] if not each.startswith("data:")}
    return said


def test_the_page_shows_the_model_and_sends_its_example(
    models: Models,  # noqa: F811 # the fixture
    selenium: TestEnvironment,
    cache: Path,
    tmp_path: Path,
) -> None:
    server = Server(str(models.root / "forest"), "--python", models.python, cache=cache)
    said = look(selenium, server, tmp_path)
    server.end()
    assert said["title"].endswith("forest")
    assert "/invocations" in said["routes"]
    assert said["status"].startswith("200 in ")
    assert json.loads(said["answer"]) == {"predictions": ["high", "high"]}  # the example has two rows
    assert said["refused"].startswith("400 in ")
    assert said["fetched"] == {"", "openapi.json", "invocations"}  # and nothing from elsewhere
    assert said["console"] == []


def test_a_page_behind_a_token_asks_for_it(
    models: Models,  # noqa: F811 # the fixture
    selenium: TestEnvironment,
    cache: Path,
    tmp_path: Path,
) -> None:
    server = Server(str(models.root / "forest"), "--python", models.python, "--token", "s3cret", cache=cache)
    said = look(selenium, server, tmp_path, token="s3cret")
    server.end()
    assert said["status"].startswith("200 in ")
