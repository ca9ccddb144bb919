import { describe, expect, it } from 'vitest';
import {
	formatBytes,
	formatBytesOf,
	formatCores,
	formatPercent,
	percentOf,
	plural,
	toNumber
} from './number';

describe('formatBytes', () => {
	it.each([
		[undefined, '0 B'],
		['0', '0 B'],
		['1023', '1023 B'],
		['1024', '1 KiB'],
		[String(512 * 1024 ** 2), '512 MiB'],
		[String(1.5 * 1024 ** 3), '1.5 GiB'],
		[String(16 * 1024 ** 3 - 1), '16 GiB'],
		[String(1024 ** 3 - 1), '1 GiB'],
		['9223372036854775807', '8192 PiB'],
		['not a number', '0 B']
	])('%s is %s', (value, text) => expect(formatBytes(value)).toBe(text));
});

it('formatBytesOf writes both in the unit of the whole', () => {
	expect(formatBytesOf(String(512 * 1024 ** 2), String(16 * 1024 ** 3))).toBe('0.5 / 16 GiB');
	expect(formatBytesOf('0', '0')).toBe('0 / 0 B');
	expect(formatBytesOf('10', undefined)).toBe('10 / 0 B');
});

it.each([
	[undefined, '0 %'],
	[0, '0 %'],
	[0.04, '0.0 %'],
	[5.25, '5.3 %'],
	[9.97, '10 %'],
	[99.4, '99 %'],
	[250, '100 %'],
	[-3, '0 %']
])('formatPercent(%s) is %s', (value, text) => expect(formatPercent(value)).toBe(text));

it('percentOf bounds what it answers, and knows no whole of nothing', () => {
	expect(percentOf('5', '10')).toBe(50);
	expect(percentOf('15', '10')).toBe(100);
	expect(percentOf('5', '0')).toBe(0);
});

it('plural counts', () => {
	expect(plural(1, 'node')).toBe('1 node');
	expect(plural(1204, 'node')).toBe('1,204 nodes');
	expect(plural(0, 'entry', 'entries')).toBe('0 entries');
});

it('64-bit integers come as strings', () => {
	expect(toNumber('17179869184')).toBe(17179869184);
	expect(formatCores('1500')).toBe('1.5');
});
