import { describe, expect, it } from 'vitest';
import {
	columns,
	formatLatency,
	formatShort,
	niceTop,
	readView,
	seriesName,
	tokensOf,
	viewQuery
} from './usage';

describe('the address', () => {
	it('is read, and written as it is read', () => {
		const view = readView(new URLSearchParams('range=7d&by=node&status=failed'));
		expect(view).toEqual({ range: '7d', by: 'node', status: 'failed' });
		expect(viewQuery(view)).toBe('?range=7d&by=node&status=failed');
		expect(readView(new URLSearchParams(viewQuery(view)))).toEqual(view);
	});
	it('says the usual where it says nothing of use', () => {
		const usual = { range: '24h', by: 'model', status: '' };
		expect(readView(new URLSearchParams(''))).toEqual(usual);
		expect(readView(new URLSearchParams('range=year&by=toString&status=constructor'))).toEqual(
			usual
		);
		expect(viewQuery(readView(new URLSearchParams()))).toBe('?range=24h&by=model');
	});
});

describe('columns', () => {
	const usage = {
		from: '2026-01-01T00:00:00Z',
		to: '2026-01-01T00:03:00Z',
		step: '60s',
		series: [
			{
				key: 'a',
				points: [
					{
						start: '2026-01-01T00:00:00Z',
						counts: { requests: '2', tokensIn: '10', tokensOut: '5' }
					},
					{ start: '2026-01-01T00:02:00Z', counts: { requests: '1', tokensIn: '1' } }
				]
			},
			{
				key: 'b',
				points: [{ start: '2026-01-01T00:00:00Z', counts: { requests: '3', tokensOut: '7' } }]
			}
		]
	};
	it('stand on each other, one for each step', () => {
		const all = columns(usage, tokensOf);
		expect(all.map(({ total }) => total)).toEqual([22, 0, 1]);
		expect(all[0]?.segments).toEqual([
			{ series: 0, value: 15, below: 0 },
			{ series: 1, value: 7, below: 15 }
		]);
		expect(new Date(all[1]?.start ?? 0).toISOString()).toBe('2026-01-01T00:01:00.000Z');
	});
	it('leave out what is outside, and bounds that are none', () => {
		const outside = [
			{ key: 'c', points: [{ start: '2027-01-01T00:00:00Z', counts: { tokensIn: '1' } }] }
		];
		expect(columns({ ...usage, series: outside }, tokensOf).map(({ total }) => total)).toEqual([
			0, 0, 0
		]);
		expect(columns({}, tokensOf)).toEqual([]);
		expect(columns({ ...usage, step: '0s' }, tokensOf)).toEqual([]);
	});
});

it('writes numbers for an axis', () => {
	expect([0, 1, 3, 5, 7, 10, 11, 420, 0.3].map(niceTop)).toEqual([
		1, 1, 5, 5, 10, 10, 20, 500, 0.5
	]);
	expect([0, 7.4, 950, 999.7, 1200, 12_345, 999_700, 3_400_000, 2e9].map(formatShort)).toEqual([
		'0',
		'7',
		'950',
		'1k',
		'1.2k',
		'12k',
		'1M',
		'3.4M',
		'2G'
	]);
	expect([undefined, 0, 12.3, 999.7, 1250, 65_000].map(formatLatency)).toEqual([
		'–',
		'–',
		'12 ms',
		'1 s',
		'1.3 s',
		'65 s'
	]);
});

it('names what has no name', () => {
	expect(seriesName({ key: 'm' }, 'model')).toBe('m');
	expect(seriesName({ key: '' }, 'model')).toBe('no such model');
	expect(seriesName({ key: '' }, 'node')).toBe('no node answered');
	expect(seriesName({ key: '', others: true }, 'node')).toBe('others');
});
