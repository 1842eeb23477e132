"""Files to and from Slack: whose servers, how much, under which name, and where the token goes."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest
import structlog
from aiohttp import web as server
from hypothesis import given
from hypothesis import strategies as st

from adapters.slack.api import SlackApi
from adapters.slack.errors import SlackUnreachableError
from adapters.slack.files import MAX_LOOKS, MAX_NAME_CHARS, download, file_name, transcript, upload
from adapters.slack.installs import OneToken
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.messages import Attachment
from tests.unit.adapters.slack.test_api import (
    TEAM,
    TOKEN,
    Answer,
    Loopback,
    hang_up,
    opened,
    opened_fake,
    pause,
    refusal,
    serving,
    status,
)

CSV = Attachment(name="report.csv", mime_type="text/csv", data=b"a,b\n1,2\n")


def gives(data: bytes, *, content_type: str = "text/csv", chunks: int = 0) -> Answer:
    async def answer(request: server.Request) -> server.StreamResponse:
        if not chunks:
            return server.Response(body=data, content_type=content_type)
        response = server.StreamResponse(headers={"Content-Type": content_type})
        await response.prepare(request)
        for _ in range(chunks):
            await response.write(data)
        return response

    return answer


def sends_to(url: str) -> Answer:
    async def answer(_: server.Request) -> server.StreamResponse:
        return server.Response(status=302, headers={"Location": url})

    return answer


@asynccontextmanager
async def files(loopback: Loopback) -> AsyncGenerator[tuple[SlackApi, str]]:
    """Open a client, and the address that files of this server have."""
    async with opened(loopback) as api:
        yield api, loopback.url.removesuffix("/api/")


async def test_a_file_is_fetched_with_the_workspaces_token() -> None:
    async with serving() as slack, files(slack) as (api, url):
        slack.script["/files/1"] = [gives(b"a,b")]
        assert await download(api, f"{url}/files/1", team=TEAM, max_bytes=100) == b"a,b"
    assert slack.seen[0].authorization == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/secret.csv",
        "https://files.slack.com.example.com/1",
        "https://files.slack.com@example.com/1",
        "https://notslack.com/1",
        "http://files.slack.com/1",
        "http://127.0.0.1:9/1",
        "file:///etc/passwd",
        "ftp://files.slack.com/1",
        "//files.slack.com/1",
        "",
        "http://[::1",
    ],
)
async def test_an_address_that_is_not_slacks_is_never_opened(url: str) -> None:
    async with serving() as slack, files(slack) as (api, _):
        with pytest.raises(AdapterError, match=r"Slack's own servers|cannot be read") as caught:
            await download(api, url, team=TEAM, max_bytes=100)
    assert caught.value.is_permanent
    assert slack.seen == []


async def test_a_redirect_within_slack_is_followed_and_one_to_elsewhere_is_not() -> None:
    async with serving() as elsewhere, serving() as slack, files(slack) as (api, url):
        slack.script["/files/1"] = [sends_to("/files/2")]
        slack.script["/files/2"] = [gives(b"a,b")]
        slack.script["/files/3"] = [sends_to(f"{elsewhere.url}files")]
        assert await download(api, f"{url}/files/1", team=TEAM, max_bytes=100) == b"a,b"
        with pytest.raises(AdapterError, match="Slack's own servers"):
            await download(api, f"{url}/files/3", team=TEAM, max_bytes=100)
    assert elsewhere.seen == []


async def test_redirects_in_a_circle_end() -> None:
    async with serving() as slack, files(slack) as (api, url):
        slack.script["/files/1"] = [sends_to("/files/1")]
        with pytest.raises(AdapterError, match="redirects again and again"):
            await download(api, f"{url}/files/1", team=TEAM, max_bytes=100)
    assert len(slack.seen) == 6


@pytest.mark.parametrize("chunks", [0, 1_000])
async def test_a_file_over_the_limit_is_refused_whether_or_not_its_length_is_announced(chunks: int) -> None:
    size = 2**20 + 1 if not chunks else 2**16
    async with serving() as slack, files(slack) as (api, url):
        slack.script["/files/1"] = [gives(b"x" * size, chunks=chunks)]
        with pytest.raises(AdapterError, match="bigger than the 1 MB"):
            await download(api, f"{url}/files/1", team=TEAM, max_bytes=2**20)


async def test_a_file_of_exactly_the_limit_is_taken() -> None:
    async with serving() as slack, files(slack) as (api, url):
        slack.script["/files/1"] = [gives(b"x" * 1_000)]
        slack.script["/files/2"] = [gives(b"x" * 100, chunks=10)]
        for number in (1, 2):
            assert len(await download(api, f"{url}/files/{number}", team=TEAM, max_bytes=1_000)) == 1_000


async def test_a_login_page_is_not_taken_for_the_file_but_a_page_that_was_shared_is() -> None:
    async with serving() as slack, files(slack) as (api, url):
        slack.script["/files/1"] = [gives(b"<html>", content_type="text/html")]
        with pytest.raises(AdapterError, match="files:read"):
            await download(api, f"{url}/files/1", team=TEAM, max_bytes=100, mime_type="image/png")
        assert await download(api, f"{url}/files/1", team=TEAM, max_bytes=100, mime_type="text/html") == b"<html>"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (status(404), "That file is gone"),
        (status(403), "files:read"),
        (status(500), "HTTP 500"),
        (hang_up, "could not be fetched"),
    ],
)
async def test_a_file_that_cannot_be_had_is_a_sentence(answer: Answer, said: str) -> None:
    async with serving() as slack, files(slack) as (api, url):
        slack.script["/files/1"] = [answer]
        with pytest.raises(AdapterError, match=said):
            await download(api, f"{url}/files/1", team=TEAM, max_bytes=100)


async def test_a_pause_for_files_is_raised_with_its_length() -> None:
    async with serving() as slack, files(slack) as (api, url):
        slack.script["/files/1"] = [pause("7")]
        with pytest.raises(RateLimitError) as caught:
            await download(api, f"{url}/files/1", team=TEAM, max_bytes=100)
    assert caught.value.retry_after_s == 7


def expects_upload(slack: Loopback, upload_url: str) -> None:
    slack.script["files.getUploadURLExternal"] = [{"ok": True, "upload_url": upload_url, "file_id": "F1"}]


async def test_a_file_is_uploaded_into_the_thread_without_the_token_at_the_upload_address() -> None:
    async with serving() as store, serving() as slack, files(slack) as (api, _):
        expects_upload(slack, f"{store.url}upload/1")
        assert await upload(api, team=TEAM, channel="C1", thread_ts="1.2", attachment=CSV) == "F1"
    asked, completed = slack.seen
    [sent] = store.seen
    assert asked.arguments == {"filename": "report.csv", "length": "8"}
    assert (sent.body, sent.authorization) == (CSV.data, "")
    assert completed.arguments == {
        "files": '[{"id": "F1", "title": "report.csv"}]',
        "channel_id": "C1",
        "thread_ts": "1.2",
    }


@pytest.mark.parametrize("fault", [status(500), hang_up])
async def test_a_file_that_slack_does_not_take_is_not_completed(fault: Answer) -> None:
    async with serving() as slack, files(slack) as (api, _):
        expects_upload(slack, f"{slack.url}upload/1")
        slack.script["upload/1"] = [fault]
        with pytest.raises(SlackUnreachableError):
            await upload(api, team=TEAM, channel="C1", thread_ts="1.2", attachment=CSV)
    assert slack.calls("files.completeUploadExternal") == []


async def test_the_call_that_makes_a_file_visible_is_made_once() -> None:
    async with serving() as slack, files(slack) as (api, _):
        expects_upload(slack, f"{slack.url}upload/1")
        slack.script["files.completeUploadExternal"] = [hang_up]
        with pytest.raises(SlackUnreachableError):
            await upload(api, team=TEAM, channel="C1", thread_ts="1.2", attachment=CSV)
    assert len(slack.calls("files.completeUploadExternal")) == 1


async def test_a_file_that_is_too_big_for_the_workspace_is_a_sentence() -> None:
    async with serving() as slack, files(slack) as (api, _):
        slack.script["files.getUploadURLExternal"] = [refusal("file_upload_size_restricted")]
        with pytest.raises(AdapterError, match="too big"):
            await upload(api, team=TEAM, channel="C1", thread_ts="1.2", attachment=CSV)


async def test_an_empty_file_is_refused_before_slack_is_asked() -> None:
    empty = Attachment(name="empty.txt", mime_type="text/plain", data=b"")
    async with serving() as slack, files(slack) as (api, _):
        with pytest.raises(AdapterError, match="empty"):
            await upload(api, team=TEAM, channel="C1", thread_ts="1.2", attachment=empty)
    assert slack.seen == []


async def test_no_file_address_and_no_token_is_in_a_log_line_or_an_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="adapters")
    secret, address = "xoxb-test-unseen", "upload/secret"
    async with serving() as slack, asyncio.timeout(30), aiohttp.ClientSession() as session:
        api = SlackApi(OneToken(secret), session, base_url=slack.url)
        expects_upload(slack, slack.url + address)
        slack.script[address] = [hang_up]
        slack.script["/files/1"] = [hang_up]
        with structlog.testing.capture_logs() as logged:
            with pytest.raises(AdapterError) as up:
                await upload(api, team=TEAM, channel="C1", thread_ts="1.2", attachment=CSV)
            with pytest.raises(AdapterError) as down:
                await download(api, f"{slack.url.removesuffix('/api/')}/files/1", team=TEAM, max_bytes=100)
    assert {line["event"] for line in logged} == {"slack_upload_failed", "slack_download_failed"}
    errors = [*traceback.format_exception(up.value), *traceback.format_exception(down.value)]
    written = "".join([*errors, str(logged), caplog.text])
    assert secret not in written and address not in str(logged) + str(up.value)


async def test_a_whole_slack_shares_the_file_in_the_thread_and_gives_it_back() -> None:
    async with opened_fake() as (slack, api):
        root = await api.call("chat.postMessage", team=TEAM, channel="C1", text="here it comes")
        file_id = await upload(api, team=TEAM, channel="C1", thread_ts=root["ts"], attachment=CSV)
        assert slack.files[file_id].is_shared and slack.files[file_id].content == CSV.data
        info = await api.call("files.info", team=TEAM, may_repeat=True, file=file_id)
        assert await download(api, info["file"]["url_private_download"], team=TEAM, max_bytes=100) == CSV.data


async def test_a_whole_slack_sends_its_sign_in_page_to_an_app_without_the_scope() -> None:
    async with opened_fake() as (slack, api):
        stored = slack.add_file("a.txt", b"words")
        slack.add_token(TOKEN, team=TEAM, scopes=("chat:write",))
        with pytest.raises(AdapterError, match="files:read"):
            await download(api, slack.file_json(stored)["url_private_download"], team=TEAM, max_bytes=100)


@pytest.mark.parametrize(
    ("name", "mime_type", "safe"),
    [
        ("report.csv", "text/csv", "report.csv"),
        ("chart", "image/png", "chart.png"),
        ("v1.2 notes", "text/plain", "v1.2 notes.txt"),
        ("../../etc/passwd", "text/plain", "etc_passwd.txt"),
        ("a\nb\x00c.png", "image/png", "a_b_c.png"),
        ("", "image/png", "file.png"),
        ("...", "application/x-unknown-kind", "file"),
        ("Übersicht März.pdf", "application/pdf", "Übersicht März.pdf"),
        ("page", "text/html; charset=utf-8", "page.html"),
    ],
)
def test_a_file_is_named_as_the_tool_named_it_as_far_as_that_is_safe(name: str, mime_type: str, safe: str) -> None:
    assert file_name(Attachment(name=name, mime_type=mime_type, data=b"x")) == safe


@given(st.text(), st.sampled_from(["", "image/png", "text/plain", "nonsense", "a/b; c=d"]))
def test_any_name_becomes_one_short_line_without_a_folder(name: str, mime_type: str) -> None:
    safe = file_name(Attachment(name=name, mime_type=mime_type, data=b"x"))
    assert safe and safe.isprintable() and len(safe) <= MAX_NAME_CHARS and not set(safe) & set('/\\:*?"<>|')


# --- transcripts ---


def clip(*, vtt: str = "", **transcription: object) -> dict[str, object]:
    return {"ok": True, "file": {"id": "F1", "subtype": "slack_audio", "transcription": transcription, "vtt": vtt}}


SPOKEN = {"status": "complete", "preview": {"content": "What day is it?", "has_more": False}}


async def test_a_transcript_is_waited_for_and_is_the_whole_one() -> None:
    async with serving() as slack, files(slack) as (api, url):
        slack.script["files.info"] = [clip(status="processing"), clip(**SPOKEN, vtt=f"{url}/files/1.vtt")]
        slack.script["/files/1.vtt"] = [gives(b"WEBVTT", content_type="text/vtt")]
        assert await transcript(api, "F1", team=TEAM, max_bytes=100, pause_s=0.0) == b"WEBVTT"


async def test_where_the_words_of_a_transcript_are_all_there_is_they_are_it() -> None:
    async with serving() as slack, files(slack) as (api, _):
        slack.script["files.info"] = [clip(**SPOKEN)]
        assert await transcript(api, "F1", team=TEAM, max_bytes=100, pause_s=0.0) == b"What day is it?"


@pytest.mark.parametrize(("status", "sentence"), [("processing", "takes long"), ("failed", "no transcript"), (7, "no")])
async def test_a_transcript_that_does_not_come_is_a_sentence(status: object, sentence: str) -> None:
    async with serving() as slack, files(slack) as (api, _):
        slack.script["files.info"] = [clip(status=status)] * MAX_LOOKS
        with pytest.raises(AdapterError, match=sentence):
            await transcript(api, "F1", team=TEAM, max_bytes=100, pause_s=0.0)
