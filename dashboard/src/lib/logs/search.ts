import type { StyledRun, TextStyle } from '../format/terminal';
import type { LogBlock } from './log';

/** A run of text of one style that is part of what was searched for, or is not. */
export interface MarkedRun {
	text: string;
	style: TextStyle;
	found: boolean;
}

/** What finds a text in lines, whatever its case; undefined for no text. */
export function searchPattern(text: string): RegExp | undefined {
	if (text === '') return undefined;
	return new RegExp(text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), 'giu');
}

/** Runs cut where what a pattern finds begins and ends. */
export function markRuns(runs: readonly StyledRun[], pattern: RegExp | undefined): MarkedRun[] {
	if (!pattern) return runs.map((run) => ({ ...run, found: false }));
	const text = runs.map((run) => run.text).join('');
	const edges = [...text.matchAll(pattern)].flatMap((match) => [
		match.index,
		match.index + match[0].length
	]);
	const marked: MarkedRun[] = [];
	let offset = 0;
	let passed = 0;
	for (const run of runs) {
		const end = offset + run.text.length;
		while (offset < end) {
			while ((edges[passed] ?? Infinity) <= offset) passed++;
			const until = Math.min(end, edges[passed] ?? Infinity);
			const from = run.text.length - (end - offset);
			marked.push({
				text: run.text.slice(from, from + until - offset),
				style: run.style,
				// Behind an odd number of edges there is something found.
				found: passed % 2 === 1
			});
			offset = until;
		}
	}
	return marked;
}

/** LogSearch knows which lines of a growing log have a text. Each line is looked at once. */
export class LogSearch {
	private ids: number[] = [];
	private searched = -1;
	/** Without g, with which a RegExp remembers where it was. */
	private readonly pattern: RegExp;

	constructor(pattern: RegExp) {
		this.pattern = new RegExp(pattern.source, 'iu');
	}

	/** The ids of the lines that have it, oldest first, after looking at what is new. */
	update(blocks: readonly LogBlock[]): readonly number[] {
		const first = blocks[0]?.lines[0]?.id ?? 0;
		const kept =
			this.ids.length > 0 && (this.ids[0] ?? 0) < first ? countBelow(this.ids, first) : 0;
		// A new list tells who draws it that something has changed.
		this.ids = this.ids.slice(kept);
		let from = blocks.length;
		while (from > 0 && (blocks[from - 1]?.lines.at(-1)?.id ?? 0) > this.searched) from--;
		for (const { lines } of blocks.slice(from)) {
			for (const line of lines) {
				if (line.id <= this.searched) continue;
				this.searched = line.id;
				if (this.pattern.test(line.text)) this.ids.push(line.id);
			}
		}
		return this.ids;
	}
}

/** How many of ascending numbers are smaller than one. */
export function countBelow(ascending: readonly number[], limit: number): number {
	let low = 0;
	let high = ascending.length;
	while (low < high) {
		const middle = (low + high) >> 1;
		if ((ascending[middle] ?? 0) < limit) low = middle + 1;
		else high = middle;
	}
	return low;
}

/** The place of the line to go to next, forward or back from one line, round the end. */
export function nextMatch(
	ids: readonly number[],
	from: number | undefined,
	forward: boolean
): number | undefined {
	if (ids.length === 0) return undefined;
	if (forward) return ids[countBelow(ids, (from ?? -1) + 1)] ?? ids[0];
	return ids[countBelow(ids, from ?? Infinity) - 1] ?? ids.at(-1);
}
