"""Files to and from Slack: the token goes only to Slack's hosts, and sizes are capped while bytes arrive."""

from __future__ import annotations

import asyncio
import mimetypes
import re
from pathlib import PurePosixPath

import aiohttp
import structlog
from yarl import URL

from adapters.shared.payloads import dict_of
from adapters.shared.reaching import unreached
from adapters.slack.api import SlackApi, is_refusal, retry_after_s
from adapters.slack.errors import HTTP, SlackRefusedError, SlackUnreachableError
from adapters.slack.payloads import text_at
from adapters.slack.words import shared_file
from bot.domain.errors import AdapterError, RateLimitError
from bot.domain.events import SharedFile
from bot.domain.messages import Attachment

log = structlog.stdlib.get_logger(__name__)

MAX_REDIRECTS = 5
MAX_NAME_CHARS = 120
CHUNK_BYTES = 64 * 1024
TRANSFER_TIMEOUT_S = 120.0
MAX_LOOKS = 10  # for a transcript that Slack is still making

_LOGIN_PAGE = (
    "Slack sent a page instead of the file. The app may lack the permission files:read: its operator adds it in the "
    "app's settings under OAuth & Permissions, and reinstalls the app."
)


async def download(api: SlackApi, url: str, *, team: str, max_bytes: int, mime_type: str = "") -> bytes:
    """Return the bytes behind a file's `url_private_download`; `mime_type` is what Slack says it is.

    https://docs.slack.dev/reference/objects/file-object

    Raises:
        AdapterError: The address is not Slack's, or the file is too big or unavailable; a sentence for its sender.
        RateLimitError: Slack asks for a pause.
    """
    token = await api.tokens.bot_token(team)
    try:
        async with asyncio.timeout(TRANSFER_TIMEOUT_S):
            return await _fetch(api, _address(url), token, max_bytes=max_bytes, mime_type=mime_type)
    except (aiohttp.ClientError, OSError) as error:  # TimeoutError is one
        log.warning("slack_download_failed", error=unreached(error, url))
        raise SlackUnreachableError("The file could not be fetched from Slack. Send it again in a minute.") from None


async def located(api: SlackApi, file: SharedFile, *, team: str, wait_s: float = 60.0) -> SharedFile:
    """Return the file with its address; Slack is asked for it where the message names only the file's id.

    https://docs.slack.dev/reference/objects/file-object#slack_connect_files

    Raises:
        AdapterError: Slack does not show the file; the sentence names its id.
    """
    file_id, _, url = file.reference.partition(" ")
    if url or not file_id:
        return file
    try:
        answer = await api.call("files.info", team=team, may_repeat=True, wait_s=wait_s, file=file_id)
    except AdapterError as error:
        reason = f"Slack does not show the file {file_id}. {error}"
        raise AdapterError(reason, is_permanent=error.is_permanent) from None
    found = shared_file(dict_of(answer.get("file")))
    return found if found.reference.partition(" ")[2] else file


async def transcript(api: SlackApi, file_id: str, *, team: str, max_bytes: int, pause_s: float = 2.0) -> bytes:
    """Return the transcript of a clip, once Slack has made it: its WebVTT, or the words where these are all.

    Raises:
        AdapterError: There is none after a while, or Slack does not show it; a sentence for the sender.
    """
    for _ in range(MAX_LOOKS):
        answer = await api.call("files.info", team=team, may_repeat=True, file=file_id)
        file = dict_of(answer.get("file"))
        made = dict_of(file.get("transcription"))
        if text_at(made, "status") != "processing":
            break
        await asyncio.sleep(pause_s)
    else:
        raise AdapterError("Slack takes long to make its transcript. Send it again in a minute.")
    if text_at(made, "status") != "complete":
        raise AdapterError("Slack made no transcript of it. Write what you said.", is_permanent=True)
    if whole := text_at(file, "vtt"):
        return await download(api, whole, team=team, max_bytes=max_bytes, mime_type="text/vtt")
    return text_at(dict_of(made.get("preview")), "content").encode()


async def upload(api: SlackApi, *, team: str, channel: str, thread_ts: str, attachment: Attachment) -> str:
    """Post the file into the thread and return its id.

    Nothing is visible before the last of the three calls, which is made only once.
    https://docs.slack.dev/messaging/working-with-files#uploading_files

    Raises:
        RateLimitError: Slack asks for a pause; nothing was posted.
        AdapterError: Any other refusal; the file may or may not be visible.
    """
    name = file_name(attachment)
    if not attachment.data:
        raise AdapterError(f"The file {name} is empty, and Slack accepts no empty files.", is_permanent=True)
    ticket = await api.call(
        "files.getUploadURLExternal", team=team, may_repeat=True, filename=name, length=len(attachment.data)
    )
    file_id = str(ticket["file_id"])
    await _hand_over(api, str(ticket["upload_url"]), attachment.data)
    await api.call(
        "files.completeUploadExternal",
        team=team,
        files=[{"id": file_id, "title": name}],
        channel_id=channel,
        thread_ts=thread_ts,
    )
    return file_id


def file_name(attachment: Attachment) -> str:
    """Return the file's name on one line, without a folder and with an extension: a tool server chose it."""
    name = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029/\\:*?\"<>|]+", "_", attachment.name).strip(" ._")
    name = "".join(char for char in name if char.isprintable())
    ending = PurePosixPath(name).suffix
    if not re.fullmatch(r"\.\w{1,10}", ending):
        ending = mimetypes.guess_extension(attachment.mime_type.partition(";")[0].strip()) or ""
    return f"{name.removesuffix(ending)[: MAX_NAME_CHARS - len(ending)] or 'file'}{ending}"


async def _fetch(api: SlackApi, url: URL, token: str, *, max_bytes: int, mime_type: str) -> bytes:
    for _ in range(MAX_REDIRECTS + 1):
        # aiohttp would follow to any host.
        async with api.session.get(
            url, headers=_headers(api, url, token), allow_redirects=False, proxy=api.client.proxy
        ) as response:
            if 300 <= response.status < 400 and (location := response.headers.get("Location")):
                url = url.join(_address(location))
                continue
            _check(response, mime_type)
            return await _read(response, max_bytes)
    raise AdapterError("Slack redirects again and again instead of sending the file. Send it again.")


def _address(text: str) -> URL:
    try:
        return URL(text)
    except ValueError:
        raise AdapterError("The file's address cannot be read. Send it again.", is_permanent=True) from None


def _headers(api: SlackApi, url: URL, token: str) -> dict[str, str]:
    """Return the headers for a request to `url`. Raises AdapterError where that is not Slack's."""
    base = URL(api.client.base_url)
    host = (url.host or "").lower()
    is_own = url.origin() == base.origin() if url.is_absolute() and url.scheme in {"http", "https"} else False
    is_slack = url.scheme == "https" and _within(host, "slack.com", base.host or "slack.com")
    if is_own or is_slack:
        return {"Authorization": f"Bearer {token}"}
    if url.scheme == "https" and _within(host, "slack-edge.com"):
        return {}  # the public files of Slack's network need no token
    raise AdapterError(
        "The file is not on Slack's own servers, so I do not open it. Send the file itself.", is_permanent=True
    )


def _within(host: str, *domains: str) -> bool:
    return any(host == domain or host.endswith(f".{domain}") for domain in domains)


def _check(response: aiohttp.ClientResponse, mime_type: str) -> None:
    match response.status:
        case 200:
            if response.content_type == "text/html" and not mime_type.startswith("text/html"):
                raise AdapterError(_LOGIN_PAGE, is_permanent=True)
        case 401 | 403:
            raise AdapterError(_LOGIN_PAGE, is_permanent=True)
        case 404 | 410:
            raise AdapterError("That file is gone. Send it again.", is_permanent=True)
        case 429:
            raise RateLimitError(retry_after_s=retry_after_s(response.headers))
        case status:
            raise SlackUnreachableError(f"Slack did not return the file (HTTP {status}). Send it again in a minute.")


async def _read(response: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return the body; its announced length may be that of the compressed form, or missing."""
    data = bytearray()
    if (response.content_length or 0) <= max_bytes:
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            data += chunk
            if len(data) > max_bytes:
                break
        else:
            return bytes(data)
    response.close()  # the rest is not wanted
    raise AdapterError(
        f"The file is bigger than the {_size(max_bytes)} that I read. Send a smaller one, or a part.", is_permanent=True
    )


def _size(count: int) -> str:
    return f"{count / 2**20:.0f} MB" if count >= 2**20 else f"{count / 2**10:.0f} kB"


async def _hand_over(api: SlackApi, url: str, data: bytes) -> None:
    """Send the bytes to the upload address from Slack, which needs no token and gets none."""
    try:
        async with (
            asyncio.timeout(TRANSFER_TIMEOUT_S),
            api.session.post(url, data=data, allow_redirects=False, proxy=api.client.proxy) as response,
        ):
            status = response.status
    except (aiohttp.ClientError, OSError, ValueError) as error:
        log.warning("slack_upload_failed", error=unreached(error, url))
        raise SlackUnreachableError("The file could not be sent to Slack. Try again in a minute.") from None
    if status != 200:
        log.warning("slack_upload_failed", status=status)
        if is_refusal(status):
            raise SlackRefusedError(method="the upload of the file", code=f"{HTTP}{status}")
        raise SlackUnreachableError(f"Slack did not accept the file (HTTP {status}). Try again in a minute.")
