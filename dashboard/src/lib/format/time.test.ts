import { describe, expect, it } from 'vitest';
import { formatAge, formatAgo, formatDuration, formatSpan, formatUntil, spanBetween } from './time';

const now = Date.parse('2026-03-01T12:00:00Z');
const before = (seconds: number) => new Date(now - seconds * 1000).toISOString();

describe('formatSpan', () => {
	it.each([
		[-50, '0 ms'],
		[850, '850 ms'],
		[4200, '4.2 s'],
		[9960, '10 s'],
		[59_400, '59 s'],
		[187_000, '3 m 07 s'],
		[7_500_000, '2 h 05 m'],
		[532_800_000, '6 d 4 h']
	])('%s is %s', (ms, text) => expect(formatSpan(ms)).toBe(text));
});

describe('formatAgo', () => {
	it.each([
		[0, 'now'],
		[1, '1 s ago'],
		[59, '59 s ago'],
		[60, '1 m ago'],
		[3599, '59 m ago'],
		[7200, '2 h ago'],
		[200_000, '2 d ago']
	])('%s seconds is %s', (seconds, text) => expect(formatAgo(before(seconds), now)).toBe(text));

	it('knows times that are not given or lie ahead', () => {
		expect(formatAgo(undefined, now)).toBe('never');
		expect(formatAgo('soon', now)).toBe('never');
		expect(formatAgo(before(-30), now)).toBe('now');
		expect(formatAge(before(-30), now)).toBe('0 s');
		expect(formatAge(undefined, now)).toBe('–');
	});
});

it('spanBetween ends at the end, else now, and is not before the beginning', () => {
	expect(spanBetween(undefined, undefined, now)).toBeUndefined();
	expect(spanBetween(before(10), undefined, now)).toBe(10_000);
	expect(spanBetween(before(10), before(4), now)).toBe(6000);
	expect(spanBetween(before(4), before(10), now)).toBe(0);
});

it('formatDuration reads the API’s durations', () => {
	expect(formatDuration('600s')).toBe('10 m 00 s');
	expect(formatDuration('1.5s')).toBe('1.5 s');
	expect(formatDuration('soon')).toBe('–');
});

it('says how long until a time', () => {
	const now = Date.parse('2026-01-01T00:00:00Z');
	expect(formatUntil('2026-01-01T00:00:30Z', now)).toBe('in 30 s');
	expect(formatUntil('2026-01-01T09:30:00Z', now)).toBe('in 9 h');
	expect(formatUntil('2025-12-31T23:59:59Z', now)).toBe('now');
	expect(formatUntil(undefined, now)).toBe('–');
});
