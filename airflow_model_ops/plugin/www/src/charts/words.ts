import { utcFormat } from "d3-time-format";

import { wallClock } from "./zone";

const DECIMALS = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const COUNTS = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const PERCENTS = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact" });
const RATES = new Intl.NumberFormat("en", { maximumSignificantDigits: 3 });

export const formatNumber = (value: number): string => DECIMALS.format(value);
export const formatCount = (value: number): string => COUNTS.format(value);
export const formatPercent = (percent: number): string => `${PERCENTS.format(percent)} %`;
export const formatMoment = onWall(utcFormat("%Y-%m-%d %H:%M:%S"));
const formatMinute = onWall(utcFormat("%H:%M"));
export const formatClock = onWall(utcFormat("%H:%M:%S"));
const formatDay = onWall(utcFormat("%b %-d"));
const DATES = new Intl.DateTimeFormat("en", { dateStyle: "full", timeZone: "UTC" });
export const formatDate = onWall((wall) => DATES.format(wall));

/** Say a moment as a clock in the chosen time zone shows it. */
function onWall(format: (wall: Date) => string): (at: Date) => string {
  return (at) => format(wallClock(at));
}

/** A tick of a time axis: the day at midnight, else the time, with seconds only where they are not zero. */
export function formatTick(at: Date): string {
  const wall = wallClock(at);
  if (wall.getUTCSeconds() !== 0) {
    return formatClock(at);
  }
  return wall.getUTCHours() === 0 && wall.getUTCMinutes() === 0 ? formatDay(at) : formatMinute(at);
}

/** "12 of 3,400 (0.35 %)"; no share where nothing was counted. */
export function formatShare(bad: number | null, total: number | null): string {
  if (bad === null || total === null) {
    return "not counted";
  }
  const counted = `${formatCount(bad)} of ${formatCount(total)}`;
  return total > 0 ? `${counted} (${RATES.format((100 * bad) / total)} %)` : counted;
}

/** A risk ratio with its bounds: "1.3× (0.9× to 2.1×)". */
export function formatRatio(ratio: number | null, low: number | null, high: number | null): string {
  const middle = ratio === null ? "not measured" : `${formatNumber(ratio)}×`;
  if (low === null && high === null) {
    return middle;
  }
  const bounds = `${low === null ? "no lower bound" : `${formatNumber(low)}×`} to ${high === null ? "no upper bound" : `${formatNumber(high)}×`}`;
  return `${middle} (${bounds})`;
}

/** What an e-value of 10^`log10` says to people: how strong, in odds. */
export function formatEvidence(log10: number | null): string {
  if (log10 === null) {
    return "none yet";
  }
  if (log10 >= 6) {
    return "more than 1,000,000 to 1";
  }
  return log10 <= 0 ? "none" : `${RATES.format(10 ** log10)} to 1`;
}

/** 10^`log10` as odds, short enough for a tick: "100:1", "1:10K". */
export function formatOdds(log10: number): string {
  const odds = SHORT.format(10 ** Math.abs(log10));
  return log10 < 0 ? `1:${odds}` : `${odds}:1`;
}

/** Bytes for people, in the powers of 1024 that disks are sold short of. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const power = Math.min(units.length - 1, bytes > 0 ? Math.floor(Math.log2(bytes) / 10) : 0);
  return `${RATES.format(bytes / 1024 ** power)} ${units[power] ?? "B"}`;
}

/** How long something lasted, in its two largest units. */
export function formatDuration(milliseconds: number): string {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const parts: [number, string][] = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor(seconds / 3600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) {
    return "0 s";
  }
  return parts
    .slice(first, first + 2)
    .filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}
