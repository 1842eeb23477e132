"""A Discord on loopback: REST, gateway and attachments, and the people who use it."""

from tests.fakes.discord.gateway import Session as Session
from tests.fakes.discord.server import FakeDiscord as FakeDiscord
from tests.fakes.discord.world import ALL_BOT_PERMISSIONS as ALL_BOT_PERMISSIONS
from tests.fakes.discord.world import Attachment as Attachment
from tests.fakes.discord.world import Call as Call
from tests.fakes.discord.world import Channel as Channel
from tests.fakes.discord.world import Guild as Guild
from tests.fakes.discord.world import Interaction as Interaction
from tests.fakes.discord.world import Message as Message
from tests.fakes.discord.world import Ping as Ping
from tests.fakes.discord.world import Role as Role
from tests.fakes.discord.world import Upload as Upload
from tests.fakes.discord.world import User as User
from tests.fakes.discord.world import permissions_of as permissions_of
