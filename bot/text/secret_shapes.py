"""What secrets look like by themselves: the formats that their makers publish, as linear-time patterns over UTF-8.

Each decides within a bounded number of characters whether it matches, and only then runs on: a search of any text
takes linear time, also where it is made of thousands of beginnings.
"""

from __future__ import annotations

# Formats are facts of their makers; the page that states each is beside it.
_TOKENS = (
    r"xox[a-z]-[\w-]{8,}|xoxe\.xox[bp]-[\w-]{8,}|xapp-[\w-]{8,}",  # https://docs.slack.dev/authentication/tokens
    r"[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}",  # https://docs.discord.com/developers/reference#authentication
    r"\bsk-[\w-]{16,}",  # https://platform.openai.com/docs/api-reference/authentication, and Anthropic's sk-ant-
    r"\bgsk_\w{30,}|\bxai-\w{40,}|\bpplx-\w{30,}|\br8_\w{30,}",  # Groq, xAI, Perplexity, Replicate: their consoles
    # https://github.blog/engineering/behind-githubs-new-authentication-token-formats/
    r"\bgh[pousr]_\w{20,}|\bgithub_pat_\w{20,}",
    # https://docs.gitlab.com/security/tokens/#token-prefixes
    r"\bgl(?:pat|oas|dt|rt|rtr|cbt|ptt|ft|imt|agent|soat|ffct|wt)-[\w.-]{16,}",
    r"\bATATT3[\w=-]{40,}|\bATCTT3[\w=-]{40,}|\bATBB\w{24,}",  # https://support.atlassian.com/bitbucket-cloud/docs/
    # https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}",
    r"\bABSK[A-Za-z0-9+/]{50,}={0,2}",  # https://docs.aws.amazon.com/bedrock/latest/userguide/api-keys.html
    # https://docs.cloud.google.com/docs/authentication/api-keys
    # https://developers.google.com/identity/protocols/oauth2
    r"\bAIza[\w-]{35}|\bGOCSPX-[\w-]{20,}|\bya29\.[\w-]{20,}|\b1//0[\w-]{30,}",
    # https://learn.microsoft.com/purview/sit-defn-client-secret-api-key (Entra ID), and Azure's 84-character keys
    r"\b[\w.~-]{3}\dQ~[\w.~-]{31,}|\b[A-Za-z0-9]{52}JQQJ99[A-Za-z0-9]{20,}",
    r"\b[rs]k_(?:live|test)_\w{16,}|\bwhsec_[A-Za-z0-9+/=]{20,}",  # https://docs.stripe.com/keys
    r"\bnpm_[A-Za-z0-9]{36}",  # https://github.blog/changelog/2021-09-23-npm-has-a-new-access-token-format/
    r"\bpypi-[\w-]{16,}",  # PyPI: its help page on API tokens
    r"\brubygems_[0-9a-f]{48}|\boy2[a-z0-9]{43}|\bdckr_(?:pat|oat)_[\w-]{20,}",  # RubyGems, NuGet, Docker Hub
    r"\bhf_[A-Za-z0-9]{30,}",  # https://huggingface.co/docs/hub/security-tokens
    r"\bhv[sbr]\.[\w-]{20,}",  # https://developer.hashicorp.com/vault/docs/concepts/tokens#token-prefixes
    r"\b[A-Za-z0-9]{14}\.atlasv1\.[\w-]{40,}",  # https://developer.hashicorp.com/terraform/cloud-docs/api-docs
    r"\bSG\.[\w-]{16,}\.[\w-]{16,}",  # https://www.twilio.com/docs/sendgrid/ui/account-and-settings/api-keys
    r"\bSK[0-9a-f]{32}",  # https://www.twilio.com/docs/iam/api-keys
    r"\bkey-[0-9a-f]{32}|\b[0-9a-f]{32}-us\d{1,2}",  # Mailgun, Mailchimp: their pages on API keys
    r"\bdo[opr]_v1_[0-9a-f]{40,}",  # https://docs.digitalocean.com/reference/api/create-personal-access-token/
    r"\bdapi[0-9a-f]{32}",  # https://docs.databricks.com/dev-tools/auth/pat
    r"\bshp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}|\bsq0csp-[\w-]{40,}",  # https://shopify.dev/docs/apps/build/authentication
    r"\bdp\.(?:pt|st|ct|sa|scim|audit)\.\w{30,}|\bpul-[0-9a-f]{40}",  # Doppler, Pulumi
    r"\bops_eyJ[\w+/=-]{40,}|\bA3-[A-Z0-9]{6}-(?:[A-Z0-9]{5,11}-){2,5}[A-Z0-9]{5}",  # https://developer.1password.com
    r"\bglsa_\w{32,}|\bglc_eyJ[\w+/=]{20,}|\bsntry[su]_[\w+/=-]{30,}|\bNRAK-[A-Z0-9]{20,}",  # Grafana, Sentry ..
    r"\blin_api_\w{30,}|\bntn_\w{30,}|\bsecret_[A-Za-z0-9]{43}|\bfigd_[\w-]{30,}|\bPMAK-[\w-]{40,}",  # Linear ..
    r"\bpat[A-Za-z0-9]{14}\.[0-9a-f]{64}",  # https://airtable.com/developers/web/guides/personal-access-tokens
    r"\btskey-[\w-]{20,}",  # https://tailscale.com/kb/1277/key-prefixes
    r"\bsbp_[0-9a-f]{40}|\bsb_secret_[\w-]{20,}|\bnfp_\w{30,}|\bpscale_(?:tkn|oauth|pw)_[\w.-]{30,}",  # Supabase ..
    r"\b\d{8,10}:AA[\w-]{33}",  # https://core.telegram.org/bots/api#authorizing-your-bot
    r"\bAGE-SECRET-KEY-1[A-Z0-9]{50,}",  # https://github.com/FiloSottile/age
)
_JWT = r"\beyJ[\w.-]{30,}"  # RFC 7519, 7516; three parts or more, which the caller counts

# RFC 7468, RFC 4880: a block is its lines of base64 and its headers. What comes after it is no part of it.
_BREAK = r"(?:\r?\n|(?:\\{1,3}[rn]){1,2})"
_KEY_BEGIN = r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
_KEY_LINE = (
    rf"{_BREAK}(?:[A-Z][A-Za-z-]{{2,30}}: [^\n\\]*|[ \t>|]{{0,20}}(?:\d{{1,5}}[:|\t ])?[ \t]{{0,8}}[A-Za-z0-9+/=]*)"
)
_KEY_BODY = rf"(?:{_KEY_LINE}|[ ]{{1,4}}[A-Za-z0-9+/=]{{40,}})*"
_KEY_LAST = r"[ \t>|]{0,20}[A-Za-z0-9+/=]{0,76}[ ]?-----END "
_KEY_END = rf"(?:{_BREAK}|[ ]{{1,4}})?{_KEY_LAST}[A-Z0-9 ]{{0,40}}PRIVATE KEY(?: BLOCK)?-----"
KEY = rf"{_KEY_BEGIN}{_KEY_BODY}(?:{_KEY_END})?"
KEY_SIGN = b"PRIVATE KEY"  # is in every one of them

WHOLE = "|".join(_TOKENS)
JWT = _JWT

# What stays readable of these shows whose secret it is: the value behind it is hidden.
PLACES = "|".join(
    (
        r"hooks\.slack\.com/(?:services|workflows|triggers)/",  # https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
        r"discord(?:app)?\.com/api/(?:v\d{1,2}/)?webhooks/\d{5,25}/",  # https://docs.discord.com/developers/resources/webhook
        r"webhook\.office\.com/webhookb2/",  # https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/
        # https://learn.microsoft.com/rest/api/storageservices/create-service-sas, and signed URLs of S3 and GCS
        r"\bsig=|\bX-(?:Amz|Goog)-(?:Signature|Security-Token)=",
    )
)
PLACE_VALUE = r"[\w%+/=@.~-]{8,}"

# How a block of several lines that may still grow begins; and what it is from there on.
HEAD = "-----BEGIN "
GROWING = "|".join(
    (
        r"-----BEGIN [A-Z0-9 ]{0,60}-{0,5}",
        rf"{_KEY_BEGIN}{_KEY_BODY}(?:{_BREAK}|\\{{1,3}}|\r|[ ]{{1,4}})?[ \t>|]{{0,20}}[!-~]*",
        rf"{_KEY_BEGIN}{_KEY_BODY}(?:{_BREAK}|[ ]{{1,4}})?{_KEY_LAST}[A-Z0-9 ]{{0,60}}-{{0,5}}",
    )
)
