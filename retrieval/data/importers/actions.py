"""Action rules: what the user did, told from other columns of the row (`cancel: InvoiceNo ~ ^C`)."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from retrieval.arrays import Mask
from retrieval.data.reading.schema import plain
from retrieval.errors import ConfigError, DataError

_FORM = re.compile(r"\s*(?P<action>[^:]+?)\s*:\s*(?P<column>.+?)\s*(?P<sign>~|!=|<=|>=|=|<|>)\s*(?P<value>.+?)\s*")
_SIGNS: dict[str, Callable[[Any, float], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class ActionRule:
    """The action of rows whose `column` matches: `~` a regular expression, `=`/`!=` a text, `<` … `>=` a number."""

    action: str
    column: str
    sign: str
    value: str

    @classmethod
    def parse(cls, text: str) -> ActionRule:
        """`cancel: InvoiceNo ~ ^C` or `cancel: Quantity < 0`. Raises ConfigError."""
        found = _FORM.fullmatch(text)
        if not found:
            raise ConfigError(
                f"--action-rule {text!r}: expected ACTION: COLUMN SIGN VALUE with one of ~ = != < <= > >=, "
                "e.g. 'cancel: InvoiceNo ~ ^C'"
            )
        rule = cls(**found.groupdict())
        if rule.sign == "~":
            try:
                re.compile(rule.value)
            except re.error as error:
                raise ConfigError(f"--action-rule {text!r}: not a regular expression: {error}") from error
        elif rule.sign in _SIGNS:
            try:
                float(rule.value)
            except ValueError as error:
                raise ConfigError(f"--action-rule {text!r}: {rule.sign} compares numbers") from error
        return rule

    def matches(self, column: pa.Array) -> Mask:
        """Which rows the rule holds for; a row whose value is missing is never one of them. bool [n]"""
        column = plain(column)
        try:
            if self.sign == "~":
                found = pc.match_substring_regex(column.cast(pa.large_string()), self.value)
            elif self.sign in _SIGNS:
                numbers = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
                mask: Mask = _SIGNS[self.sign](numbers, float(self.value))
                return mask
            else:
                found = pc.equal(column.cast(pa.large_string()), self.value)
                found = found if self.sign == "=" else pc.invert(found)
        except pa.ArrowException as error:
            raise DataError(f"column {self.column!r}, action rule {self.sign} {self.value}: {error}") from error
        result: Mask = found.fill_null(False).to_numpy(zero_copy_only=False)
        return result


def name_actions(
    rules: Sequence[ActionRule], columns: Mapping[str, pa.Array], otherwise: pa.Array | str, rows: int
) -> pa.Array:
    """Actions of a batch: that of the first rule that holds, or else the row's own (an array), or a fixed one."""
    base = otherwise if isinstance(otherwise, pa.Array) else pa.repeat(pa.scalar(otherwise), rows)
    result = plain(base).cast(pa.large_string())
    undecided = np.ones(rows, np.bool_)
    for rule in rules:
        hit = rule.matches(columns[rule.column]) & undecided
        if hit.any():
            result = pc.if_else(pa.array(hit), pa.scalar(rule.action, pa.large_string()), result)
            undecided &= ~hit
    return result
