import type { LogEntry } from '@orchion/api';
import { plainText } from '../format/terminal';

/** One line of a log as it is drawn. */
export interface LogLine {
	/** Grows by one with every line. */
	id: number;
	stderr: boolean;
	attempt: number;
	time: string | undefined;
	text: string;
}

/** Lines that are drawn together, so that a new line does not make the browser look at all. */
export interface LogBlock {
	id: number;
	lines: LogLine[];
}

export const BLOCK_LINES = 200;

/** Blocks that are kept: with them 10,000 lines; the whole log can be downloaded. */
export const MAX_BLOCKS = 50;

/**
 * LogBuffer holds the newest lines of a job's log. Entries that it already has are dropped, so a
 * reader that lost its connection can read from the beginning again.
 */
export class LogBuffer {
	/** Oldest first; replaced, never changed, when lines are added. */
	blocks: LogBlock[] = [];
	/** Lines that were let go to make room. */
	dropped = 0;
	private count = 0;
	/** The last line of each stream of each attempt. */
	private readonly last = new Map<string, number>();

	get length(): number {
		return this.count;
	}

	/** Adds entries; answers whether any of them was new. */
	add(entries: Iterable<LogEntry>): boolean {
		const blocks = [...this.blocks];
		const before = this.count;
		for (const entry of entries) {
			const key = `${entry.attempt ?? 0}/${entry.stream ?? ''}`;
			const number = Number(entry.line ?? 0);
			if (number > 0) {
				if (number <= (this.last.get(key) ?? 0)) continue;
				this.last.set(key, number);
			}
			const line: LogLine = {
				id: this.count++,
				stderr: entry.stream === 'stderr',
				attempt: entry.attempt ?? 0,
				time: entry.time,
				text: plainText(entry.text ?? '')
			};
			const tail = blocks.at(-1);
			if (tail && tail.lines.length < BLOCK_LINES) {
				blocks[blocks.length - 1] = { ...tail, lines: [...tail.lines, line] };
			} else {
				blocks.push({ id: line.id, lines: [line] });
			}
		}
		if (this.count === before) return false;
		for (const block of blocks.splice(0, Math.max(0, blocks.length - MAX_BLOCKS))) {
			this.dropped += block.lines.length;
		}
		this.blocks = blocks;
		return true;
	}

	/** The lines that are held, as text. */
	text(): string {
		return this.blocks.flatMap((block) => block.lines.map((line) => line.text)).join('\n');
	}
}
