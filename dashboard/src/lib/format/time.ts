/**
 * A span in its two largest units: "850 ms", "4.2 s", "3 m 07 s", "2 h 05 m", "6 d 4 h". Negative
 * spans, which skewed clocks make, count as none.
 */
export function formatSpan(milliseconds: number): string {
	const ms = Math.max(0, milliseconds);
	if (ms < 1000) return `${Math.round(ms)} ms`;
	if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
	const seconds = Math.round(ms / 1000);
	if (seconds < 60) return `${seconds} s`;
	const minutes = Math.floor(seconds / 60);
	if (minutes < 60) return `${minutes} m ${pad(seconds % 60)} s`;
	const hours = Math.floor(minutes / 60);
	if (hours < 24) return `${hours} h ${pad(minutes % 60)} m`;
	return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** How long ago a time was, in whole units and one of them: "now", "12 s ago", "3 h ago". */
export function formatAgo(time: string | undefined, now: number): string {
	const then = parseTime(time);
	if (then === undefined) return 'never';
	const seconds = Math.floor((now - then) / 1000);
	if (seconds < 1) return 'now';
	return `${wholeUnit(seconds)} ago`;
}

/** How long until a time: "in 5 m", "in 3 h", "now" when it has come. */
export function formatUntil(time: string | undefined, now: number): string {
	const then = parseTime(time);
	if (then === undefined) return '–';
	const seconds = Math.ceil((then - now) / 1000);
	return seconds < 1 ? 'now' : `in ${wholeUnit(seconds)}`;
}

/** The same without "ago", for a column that is headed "Age". */
export function formatAge(time: string | undefined, now: number): string {
	const then = parseTime(time);
	if (then === undefined) return '–';
	return wholeUnit(Math.max(0, Math.floor((now - then) / 1000)));
}

function wholeUnit(seconds: number): string {
	if (seconds < 60) return `${seconds} s`;
	if (seconds < 3600) return `${Math.floor(seconds / 60)} m`;
	if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h`;
	return `${Math.floor(seconds / 86_400)} d`;
}

/**
 * How long something took, or has taken until now when it has not finished; undefined when it has
 * not begun.
 */
export function spanBetween(
	started: string | undefined,
	finished: string | undefined,
	now: number
): number | undefined {
	const from = parseTime(started);
	if (from === undefined) return undefined;
	return Math.max(0, (parseTime(finished) ?? now) - from);
}

/** Local date and time to the second: "2026-01-31 14:05:09". */
export function formatDateTime(time: string | undefined): string {
	const ms = parseTime(time);
	if (ms === undefined) return '–';
	const date = new Date(ms);
	return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())} ${formatClock(time)}`;
}

/** Local time of day to the second: "14:05:09". */
export function formatClock(time: string | undefined): string {
	const ms = parseTime(time);
	if (ms === undefined) return '–';
	const date = new Date(ms);
	return `${pad(date.getHours())}:${pad(date.getMinutes())}:${pad(date.getSeconds())}`;
}

/** Milliseconds since the epoch of an RFC 3339 time. */
export function parseTime(time: string | undefined): number | undefined {
	const ms = Date.parse(time ?? '');
	return Number.isNaN(ms) ? undefined : ms;
}

/** A duration of the API ("5s", "1.5s") as a span for people. */
export function formatDuration(duration: string | undefined): string {
	const seconds = /^(-?\d+(?:\.\d+)?)s$/.exec(duration ?? '')?.[1];
	return seconds === undefined ? '–' : formatSpan(Number(seconds) * 1000);
}

function pad(value: number): string {
	return String(value).padStart(2, '0');
}
