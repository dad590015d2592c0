"""From an attempt to a row's final word: pure, and the one place where masking and its sentences are decided."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from worker.masking import MASK, mask_in, secrets_of, warning_record
from worker.models import Attempt, Job, Outcome, Result, UserKey, Verdict
from worker.replies import tidy

if TYPE_CHECKING:
    from worker.seam import AcsCredential

__all__ = ["Tries", "assigned", "changed", "conflict", "details", "failed", "in_doubt", "names_another", "unchanged"]


@dataclass(slots=True)
class Tries:
    """What it took to settle a row."""

    attempts: int = 1
    read_back: bool = False
    started_at: float | None = None
    previous_acs_user_id: str | None = None
    previous_owner_state: str | None = None


def names_another(job: Job, credential: AcsCredential | None) -> bool:
    """Whether the reply names another credential than was asked for, or another person, or nobody at all."""
    if credential is None:
        return False
    if credential.acs_credential_id != job.acs_credential_id:
        return True
    is_nobodys = credential.acs_user_id is None and credential.user_identity_id is None
    if job.unassign:
        return not is_nobodys
    if is_nobodys:
        return True
    named = credential.acs_user_id if job.user_key is UserKey.ACS_USER else credential.user_identity_id
    return named is not None and named != job.user_id


def assigned(  # noqa: PLR0913 - the quick path: one call, no object made for it
    job: Job,
    attempt: Attempt,
    credential: AcsCredential | None,
    *,
    include_codes: bool,
    details_due: bool = False,
    attempts: int = 1,
    read_back: bool = False,
    started_at: float | None = None,
    previous_acs_user_id: str | None = None,
    previous_owner_state: str | None = None,
    detail: str | None = None,
    outcome: Outcome = Outcome.ASSIGNED,
) -> Result:
    """Seam accepted the row, or a read-back proved that it had."""
    finished_at = attempt.started_at + attempt.duration
    began = attempt.started_at if started_at is None else started_at
    duration_ms = int((finished_at - began) * 1000.0)
    if credential is None:
        return Result(
            job.row,
            outcome,
            detail=detail,
            http_status=attempt.status,
            attempts=attempts,
            read_back=read_back,
            request_id=attempt.request_id,
            previous_acs_user_id=previous_acs_user_id,
            previous_owner_state=previous_owner_state,
            started_at=began,
            finished_at=finished_at,
            duration_ms=duration_ms,
            details_due=details_due,
        )
    codes = warnings = errors = code = card_number = None
    display_name = credential.display_name
    if credential.warnings or credential.errors or credential.code or credential.card_number:
        secrets = () if include_codes else secrets_of(credential)
        display_name = mask_in(display_name, secrets)
        codes, warnings = _warnings(credential, secrets, include_codes=include_codes)
        errors = _errors(credential, secrets)
        code = credential.code if include_codes else MASK if credential.code else None
        card_number = credential.card_number if include_codes else MASK if credential.card_number else None
    return Result(
        job.row,
        outcome,
        None,
        detail,
        attempt.status,
        None,
        None,
        attempts,
        read_back,
        attempt.request_id,
        credential.acs_user_id,
        credential.user_identity_id,
        previous_acs_user_id,
        previous_owner_state,
        credential.acs_system_id,
        credential.workspace_id,
        credential.access_method,
        credential.external_type,
        display_name,
        credential.is_issued,
        credential.issued_at,
        credential.starts_at,
        credential.ends_at,
        credential.is_latest_desired_state_synced_with_provider,
        codes,
        warnings,
        errors,
        code,
        card_number,
        began,
        finished_at,
        duration_ms,
        details_due,
    )


def _warnings(
    credential: AcsCredential, secrets: tuple[str, ...], *, include_codes: bool
) -> tuple[str | None, str | None]:
    if not credential.warnings:
        return None, None
    codes = ";".join(dict.fromkeys(tidy(warning.warning_code) for warning in credential.warnings))
    records = [warning_record(warning, secrets, include_codes=include_codes) for warning in credential.warnings]
    return codes, json.dumps(records, ensure_ascii=False)


def _errors(credential: AcsCredential, secrets: tuple[str, ...]) -> str | None:
    if not credential.errors:
        return None
    return json.dumps(
        [
            {
                "error_code": error.error_code,
                "message": mask_in(error.message, secrets),
                "created_at": error.created_at,
            }
            for error in credential.errors
        ],
        ensure_ascii=False,
    )


def details(
    job: Job, attempt: Attempt, *, include_codes: bool, doubt: str | None = None, keep_person: bool = False
) -> Result:
    """The detail columns of a row that was recorded before its credential could be read.

    Args:
        job: the row.
        attempt: the reading.
        include_codes: whether secrets are kept.
        doubt: what the reading says otherwise than that the credential is as the row wants it. Whoever has it now got
            it from somebody else, so no person is told as the row's.
        keep_person: the doubt is only that nobody could tell, so whom the credential names is told.
    """
    result = assigned(job, attempt, attempt.credential, include_codes=include_codes)
    if doubt is None:
        return result
    detail = f"accepted, but {tidy(doubt)}; `verify` tells what is so now"
    if keep_person:
        return result._replace(detail=detail)
    return result._replace(detail=detail, assigned_acs_user_id=None, assigned_user_identity_id=None)


def unchanged(job: Job, attempt: Attempt, *, include_codes: bool, detail: str) -> Result:
    """The person has the credential already; nothing was sent."""
    return assigned(
        job,
        attempt,
        attempt.credential,
        include_codes=include_codes,
        attempts=0,
        read_back=True,
        detail=detail,
        outcome=Outcome.UNCHANGED,
    )


_ADVICE: Final = {
    "acs_credential_not_found": "Seam knows no such credential in this workspace; check acs_credential_id",
    "acs_user_not_found": "Seam knows no such user in this workspace; check acs_user_id",
    "user_identity_not_found": "Seam knows no such person in this workspace; check user_identity_id",
    "invalid_input": "Seam refuses the request; see error_message, correct the row and run it again",
    "forbidden": "the key works, but may not do this for this credential; check whose it is",
}


def _not_assigned(  # noqa: PLR0913 - the parts of one result
    job: Job, outcome: Outcome, last: Attempt, tries: Tries, *, retryable: bool | None, detail: str
) -> Result:
    finished_at = last.started_at + last.duration
    began = last.started_at if tries.started_at is None else tries.started_at
    return Result(
        job.row,
        outcome,
        retryable=retryable,
        detail=detail,
        http_status=last.status,
        error_type=last.error_type,
        error_message=last.error_message,
        attempts=tries.attempts,
        read_back=tries.read_back,
        request_id=last.request_id,
        previous_acs_user_id=tries.previous_acs_user_id,
        previous_owner_state=tries.previous_owner_state,
        started_at=began,
        finished_at=finished_at,
        duration_ms=int((finished_at - began) * 1000.0),
    )


def failed(job: Job, last: Attempt, tries: Tries) -> Result:
    """Refused for good, or attempts used up."""
    if last.verdict in {Verdict.REFUSED, Verdict.FORBIDDEN}:
        advice = _ADVICE.get(last.error_type or "")
        if advice is None:
            advice = (
                "Seam knows no such credential or person; check the ids"
                if last.status == HTTPStatus.NOT_FOUND
                else "Seam refuses this row for good; see error_message"
            )
        return _not_assigned(job, Outcome.FAILED, last, tries, retryable=False, detail=advice)
    if last.verdict is Verdict.DONE:  # a reading: the send was another execution's, and its reply is not known here
        detail = (
            "if an earlier send was applied was in doubt, and it was not, as reading it back showed; not assigned. "
            "Send the row again"
        )
        return _not_assigned(job, Outcome.FAILED, last, tries, retryable=True, detail=detail)
    times = "once" if tries.attempts == 1 else f"{tries.attempts} times"
    detail = f"tried {times} without success (last: {last.error_type}); not assigned. Send the row again later"
    return _not_assigned(job, Outcome.FAILED, last, tries, retryable=True, detail=detail)


def in_doubt(job: Job, last: Attempt, tries: Tries) -> Result:
    """Sent, and reading back could not tell whose the credential is."""
    sent = "it was sent" if tries.attempts else "it may have been sent by another run"
    detail = (
        f"{sent}, and whether it was applied could not be read back ({last.error_type}); "
        "look at the credential in Seam, or retry it: it is read back first"
    )
    return _not_assigned(job, Outcome.IN_DOUBT, last, tries, retryable=True, detail=detail)


def conflict(job: Job, last: Attempt, tries: Tries, *, owner: str | None) -> Result:
    """The credential is somebody else's, as was read, and takeover is refused."""
    whose = f"user {tidy(owner)}" if owner else "somebody else"
    done = "it is not sent again" if tries.attempts else "nothing was changed"
    detail = f"it belongs to {whose}, and takeover is refused; {done}. `--takeover allow` replaces owners"
    return _by_owner(job, last, tries, detail)


def changed(job: Job, last: Attempt, tries: Tries, *, owner: str | None) -> Result:
    """Somebody else changed the owner after it was read."""
    whose = f"user {tidy(owner)} has it now" if owner else "nobody has it now"
    done = "it is not sent again" if tries.attempts else "nothing was sent"
    detail = f"its owner was changed by somebody else since it was read: {whose}; {done}. Look at it in Seam"
    return _by_owner(job, last, tries, detail)


def _by_owner(job: Job, last: Attempt, tries: Tries, detail: str) -> Result:
    result = _not_assigned(job, Outcome.CONFLICT, last, tries, retryable=False, detail=detail)
    return result._replace(read_back=True)
