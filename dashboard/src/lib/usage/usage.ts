import type { Usage } from '../api/client';
import { toNumber } from '../format/number';

export type UsageSeries = NonNullable<Usage['series']>[number];
export type UsageCounts = NonNullable<Usage['total']>;

/** How far back the page looks, by the word in its address. */
export const RANGES = {
	'1h': { label: 'Hour', ms: 3_600_000 },
	'24h': { label: 'Day', ms: 86_400_000 },
	'7d': { label: 'Week', ms: 7 * 86_400_000 },
	'30d': { label: 'Month', ms: 30 * 86_400_000 }
} as const;

/** What has a series of its own. */
export const GROUPS = { model: 'Model', caller: 'Caller', node: 'Node' } as const;

/** Which of the last calls are listed. */
export const OUTCOMES = { '': 'All', failed: 'Failed', cancelled: 'Cancelled' } as const;

export interface UsageView {
	range: keyof typeof RANGES;
	by: keyof typeof GROUPS;
	status: keyof typeof OUTCOMES;
}

/** What an address asks for; what it does not say, or says wrongly, is the usual. */
export function readView(query: URLSearchParams): UsageView {
	const pick = <K extends string>(from: Record<K, unknown>, name: string, usual: K): K => {
		const value = query.get(name) ?? '';
		return Object.hasOwn(from, value) ? (value as K) : usual;
	};
	return {
		range: pick(RANGES, 'range', '24h'),
		by: pick(GROUPS, 'by', 'model'),
		status: pick(OUTCOMES, 'status', '')
	};
}

/** The query of an address that asks for a view: "?range=7d&by=model". */
export function viewQuery({ range, by, status }: UsageView): string {
	const query = new URLSearchParams({ range, by });
	if (status) query.set('status', status);
	return `?${query.toString()}`;
}

/** What a series is called. */
export function seriesName(one: Pick<UsageSeries, 'key' | 'others'>, by: UsageView['by']): string {
	if (one.others) return 'others';
	if (one.key) return one.key;
	return by === 'node' ? 'no node answered' : by === 'model' ? 'no such model' : 'unknown';
}

/** One part of a column: how much of a series falls into its step. */
export interface Segment {
	/** Place of the series among all. */
	series: number;
	value: number;
	/** What lies below it in its column. */
	below: number;
}

export interface Column {
	/** When its step begins, in milliseconds since the epoch. */
	start: number;
	total: number;
	segments: Segment[];
}

/**
 * A column for every step between from and to, those without calls too, with the parts of the
 * series on top of each other.
 */
export function columns(usage: Usage, value: (counts: UsageCounts) => number): Column[] {
	const from = Date.parse(usage.from ?? '');
	const to = Date.parse(usage.to ?? '');
	const step = Number.parseFloat(usage.step ?? '') * 1000;
	if (!(to > from) || !(step > 0)) return [];
	const count = Math.min(Math.ceil((to - from) / step), 1500);
	const all = Array.from({ length: count }, (_, place): Column => {
		return { start: from + place * step, total: 0, segments: [] };
	});
	for (const [series, one] of (usage.series ?? []).entries()) {
		for (const point of one.points ?? []) {
			const column = all[Math.floor((Date.parse(point.start ?? '') - from) / step)];
			const amount = point.counts ? value(point.counts) : 0;
			if (!column || !(amount > 0)) continue;
			column.segments.push({ series, value: amount, below: column.total });
			column.total += amount;
		}
	}
	return all;
}

/** The least of 1, 2, 5, 10, 20, ... that is not less than a number: the top of an axis. */
export function niceTop(most: number): number {
	if (!(most > 0)) return 1;
	const unit = 10 ** Math.floor(Math.log10(most));
	for (const factor of [1, 2, 5, 10]) if (most <= factor * unit) return factor * unit;
	return 10 * unit;
}

/** Short for an axis: "950", "12k", "3.4M". */
export function formatShort(value: number): string {
	for (const [unit, size] of [
		['G', 1e9],
		['M', 1e6],
		['k', 1e3]
	] as const) {
		// What would be rounded up to a thousand of the unit below is one of this.
		if (value >= 0.9995 * size)
			return `${Number((value / size).toFixed(value < 10 * size ? 1 : 0))}${unit}`;
	}
	return String(Math.round(value));
}

export const tokensOf = (counts: UsageCounts) =>
	toNumber(counts.tokensIn) + toNumber(counts.tokensOut);

/** Milliseconds as people read them; "–" when nothing was measured. */
export function formatLatency(ms: number | undefined): string {
	if (!ms) return '–';
	if (ms < 999.5) return `${Math.round(ms)} ms`;
	return `${Number((ms / 1000).toFixed(ms < 10_000 ? 1 : 0))} s`;
}
