"""Names and serving numbers: a bijection in both schemes, ordered alike, with errors that say what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_model_ops.core.errors import InvalidConfig, InvalidVersionName
from airflow_model_ops.core.versioning import Scheme, Version, VersionNaming, check_model_name

TIMESTAMPS = VersionNaming()
SEMANTIC = VersionNaming(scheme=Scheme.SEMANTIC, prefix="segmentation")

YEAR_1000 = datetime(1000, 1, 1)  # noqa: DTZ001 (hypothesis takes bounds without a zone)
moments = st.datetimes(min_value=YEAR_1000, timezones=st.just(UTC))
parts = st.tuples(st.integers(0, 99_999), st.integers(0, 9_999), st.integers(0, 9_999))


class TestTimestampNames:
    """``v-YYYYMMDD-HHMMSS`` in UTC; the number is the 14 digits."""

    @given(moment=moments)
    def test_name_and_number_lead_back_to_one_another(self, moment: datetime) -> None:
        version = TIMESTAMPS.from_time(moment)
        assert TIMESTAMPS.parse(version.name) == version
        assert TIMESTAMPS.from_number(version.number) == version
        assert TIMESTAMPS.from_number(str(version.number)) == version
        assert len(str(version.number)) == 14

    @given(first=moments, second=moments)
    def test_later_moments_have_higher_versions(self, first: datetime, second: datetime) -> None:
        one, other = TIMESTAMPS.from_time(first), TIMESTAMPS.from_time(second)
        assert (one < other) == (first.replace(microsecond=0) < second.replace(microsecond=0))
        assert (one < other) == (one.name < other.name)

    @given(digits=st.text(alphabet="0123456789", min_size=1, max_size=16))
    @example("00010101000000")
    def test_every_number_either_has_a_name_that_leads_back_or_is_refused(self, digits: str) -> None:
        try:
            version = TIMESTAMPS.from_number(digits)
        except InvalidVersionName:
            return
        assert str(TIMESTAMPS.parse(version.name).number) == digits

    def test_a_moment_of_another_zone_is_named_in_utc(self) -> None:
        moment = datetime(2023, 6, 1, 2, 0, tzinfo=timezone(timedelta(hours=-10)))
        assert TIMESTAMPS.from_time(moment).name == "v-20230601-120000"

    def test_a_naive_moment_is_refused_because_nobody_knows_its_zone(self) -> None:
        with pytest.raises(InvalidVersionName, match="no time zone; version names are in UTC, so give one with a zone"):
            TIMESTAMPS.from_time(datetime(2023, 6, 1))  # noqa: DTZ001

    @pytest.mark.parametrize(
        "name",
        [
            "v-20230601-12000",
            "v-20230601-1200000",
            "V-20230601-120000",
            "v-20230601_120000",
            " v-20230601-120000",
            "v-20230601-120000\n",
            "v-٢٠٢٣٠٦٠١-١٢٠٠٠٠",
            "../v-20230601-120000",
            "",
        ],
    )
    def test_a_name_of_another_form_is_refused_with_an_example(self, name: str) -> None:
        with pytest.raises(InvalidVersionName, match="such as v-20230601-120000"):
            TIMESTAMPS.parse(name)

    @pytest.mark.parametrize("digits", ["20230229-120000", "20231301-120000", "20230601-240000", "20230601-120060"])
    def test_a_moment_that_is_not_in_the_calendar_is_refused(self, digits: str) -> None:
        with pytest.raises(InvalidVersionName, match=r"is not a moment in UTC .* such as 20230601120000"):
            TIMESTAMPS.parse(f"v-{digits}")

    def test_years_below_1000_are_refused_because_they_do_not_give_14_digits(self) -> None:
        with pytest.raises(InvalidVersionName, match="is not a moment"):
            TIMESTAMPS.parse("v-09991231-235959")

    def test_a_second_push_within_a_second_takes_the_next_one_even_over_new_year(self) -> None:
        last = TIMESTAMPS.parse("v-20231231-235959")
        assert TIMESTAMPS.next_second(last).name == "v-20240101-000000"

    def test_after_the_last_second_of_the_calendar_there_is_none(self) -> None:
        with pytest.raises(InvalidVersionName, match="the calendar ends; give an earlier time"):
            TIMESTAMPS.next_second(TIMESTAMPS.parse("v-99991231-235959"))


class TestSemanticNames:
    """``<prefix>-v<major>.<minor>.<patch>``; the number is major*10^8 + minor*10^4 + patch."""

    @given(part=parts)
    @example((99_999, 9_999, 9_999))
    @example((0, 0, 0))
    def test_name_and_number_lead_back_to_one_another(self, part: tuple[int, int, int]) -> None:
        version = SEMANTIC.parse("segmentation-v{}.{}.{}".format(*part))
        assert SEMANTIC.from_number(version.number) == version
        assert version.number < 10**13

    @given(first=parts, second=parts)
    def test_versions_are_ordered_by_major_then_minor_then_patch(
        self, first: tuple[int, int, int], second: tuple[int, int, int]
    ) -> None:
        one, other = (SEMANTIC.parse("segmentation-v{}.{}.{}".format(*part)) for part in (first, second))
        assert (one < other) == (first < second)
        assert (one == other) == (first == second)

    @given(number=st.integers(0, 10**13 - 1))
    def test_every_number_below_the_limit_has_one_name(self, number: int) -> None:
        assert SEMANTIC.parse(SEMANTIC.from_number(number).name).number == number

    def test_semantic_numbers_never_collide_with_timestamps(self) -> None:
        highest = SEMANTIC.parse("segmentation-v99999.9999.9999")
        assert highest.number < TIMESTAMPS.parse("v-10000101-000000").number

    def test_a_number_beyond_the_last_version_is_refused(self) -> None:
        with pytest.raises(InvalidVersionName, match=r"beyond segmentation-v99999\.9999\.9999.*give a lower one"):
            SEMANTIC.from_number(10**13)

    @pytest.mark.parametrize(
        "name",
        ["segmentation-v1.2", "segmentation-1.2.3", "other-v1.2.3", "segmentation-v1.2.3-rc1", "segmentation-v1.2.-3"],
    )
    def test_a_name_of_another_form_or_prefix_is_refused_with_an_example(self, name: str) -> None:
        with pytest.raises(InvalidVersionName, match=r"such as segmentation-v1\.2\.3"):
            SEMANTIC.parse(name)

    def test_leading_zeros_are_refused_because_two_names_would_share_a_number(self) -> None:
        with pytest.raises(InvalidVersionName, match=r"leading zeros; write segmentation-v1\.2\.3"):
            SEMANTIC.parse("segmentation-v01.2.003")

    @pytest.mark.parametrize("name", ["segmentation-v100000.0.0", "segmentation-v1.10000.0", "segmentation-v1.0.10000"])
    def test_parts_out_of_range_are_refused_because_they_would_run_into_one_another(self, name: str) -> None:
        with pytest.raises(InvalidVersionName, match="major goes to 99999, minor and patch to 9999"):
            SEMANTIC.parse(name)

    def test_a_name_with_thousands_of_digits_is_refused_like_any_other(self) -> None:
        with pytest.raises(InvalidVersionName, match="is not of the form"):
            SEMANTIC.parse(f"segmentation-v{'9' * 5000}.0.0")

    def test_a_prefix_may_itself_look_like_a_version(self) -> None:
        naming = VersionNaming(scheme=Scheme.SEMANTIC, prefix="unet-v1.2.3")
        assert naming.from_number(naming.parse("unet-v1.2.3-v4.5.6").number).name == "unet-v1.2.3-v4.5.6"

    def test_no_clock_names_a_semantic_version(self) -> None:
        with pytest.raises(InvalidVersionName, match=r"give a name such as 'segmentation-v1\.0\.0'"):
            SEMANTIC.from_time(datetime(2023, 6, 1, tzinfo=UTC))
        with pytest.raises(InvalidVersionName, match="has no next second; give another name"):
            SEMANTIC.next_second(SEMANTIC.parse("segmentation-v1.2.3"))


class TestNumbers:
    """Numbers arrive as strings from XCom, JSON and ML Metadata."""

    @pytest.mark.parametrize("number", ["", "-1", "+5", "007", "1e3", "1.0", " 1", "1\n", "٣", -1, True, "9" * 5000])
    @pytest.mark.parametrize("naming", [TIMESTAMPS, SEMANTIC])
    def test_anything_but_plain_digits_is_refused_with_an_example(
        self, naming: VersionNaming, number: int | str
    ) -> None:
        with pytest.raises(InvalidVersionName, match="give one such as"):
            naming.from_number(number)

    @given(part=parts)
    def test_a_version_travels_through_json_with_its_number_as_a_string(self, part: tuple[int, int, int]) -> None:
        version = SEMANTIC.parse("segmentation-v{}.{}.{}".format(*part))
        data = version.to_json()
        assert data["number"] == str(version.number)
        assert Version.from_json(data) == version

    def test_a_version_compares_with_versions_only(self) -> None:
        version = SEMANTIC.from_number(1)
        assert str(version) == "segmentation-v0.0.1"
        assert version.__lt__(2) is NotImplemented
        with pytest.raises(TypeError):
            sorted([version, 2])  # type: ignore[type-var]


class TestNaming:
    """Scheme and prefix must fit together."""

    def test_timestamps_have_no_prefix(self) -> None:
        with pytest.raises(InvalidConfig, match="remove it or set scheme: semantic"):
            VersionNaming(scheme=Scheme.TIMESTAMP, prefix="digits")

    @pytest.mark.parametrize("prefix", [None, "", "-x", "a/b", "a b", "x" * 81, "a\n", ".."])
    def test_semantic_versions_need_a_prefix_that_can_be_a_file_name(self, prefix: str | None) -> None:
        with pytest.raises(InvalidConfig, match=r"such as 'segmentation' for 'segmentation-v1\.2\.3'"):
            VersionNaming(scheme=Scheme.SEMANTIC, prefix=prefix)

    @pytest.mark.parametrize("model", ["digits", "a", "0", "a" * 100, "team.model_2-b"])
    def test_a_model_name_that_fits_everywhere_is_returned_unchanged(self, model: str) -> None:
        assert check_model_name(model) == model

    @pytest.mark.parametrize("model", ["", ".", "..", "_fleets", "-x", "a/b", "a b", "a:b", "é", "a" * 101, "a\n"])
    def test_a_model_name_that_could_not_be_a_directory_or_a_url_is_refused(self, model: str) -> None:
        with pytest.raises(InvalidConfig, match="use 1 to 100 letters"):
            check_model_name(model)
