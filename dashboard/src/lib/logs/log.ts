import type { LogEntry } from '@orchion/api';
import { NO_STYLE, plainText, styledText, type TextStyle } from '../format/terminal';

/** One line of a log as it is drawn. */
export interface LogLine {
	/** Grows by one with every line. */
	id: number;
	stderr: boolean;
	/** Not output but a word on the log itself, such as that lines are missing here. */
	note: boolean;
	attempt: number;
	time: string | undefined;
	text: string;
	/** What was printed, where it has styles of its own. */
	raw: string | undefined;
	/** The style in which the line begins. */
	style: TextStyle;
}

/** Lines that are drawn or not drawn together. */
export interface LogBlock {
	id: number;
	lines: readonly LogLine[];
}

/** Which lines of a log are shown. */
export type LogStream = 'all' | 'stdout' | 'stderr';

export const LOG_STREAMS = ['all', 'stdout', 'stderr'] as const satisfies LogStream[];

export const BLOCK_LINES = 100;

/** What is kept, whichever is reached first; the whole log can be downloaded. */
export const MAX_LINES = 100_000;
export const MAX_CHARACTERS = 32 * 1024 * 1024;

/** Begins what plainText takes out or styledText reads. */
// eslint-disable-next-line no-control-regex -- control characters are what this is about
const ESCAPE = /[\u001b\u009b]/;

/**
 * LogBuffer holds the newest lines of a job's log. Entries that it already has are dropped, so a
 * reader that lost its connection can read from the beginning again.
 */
export class LogBuffer {
	/** Lines that were let go to make room. */
	dropped = 0;
	/** Lines that were ever added. */
	count = 0;
	private characters = 0;
	private readonly lists: Record<LogStream, BlockList> = {
		all: new BlockList(),
		stdout: new BlockList(),
		stderr: new BlockList()
	};
	/** The last line of each stream of each attempt, and the style it left. */
	private readonly last = new Map<string, { line: number; style: TextStyle }>();
	/** Notes without a number, which are told from each other by what they say and when. */
	private readonly notes = new Set<string>();

	/** Oldest first; replaced, never changed, when lines are added. */
	blocks(stream: LogStream): readonly LogBlock[] {
		return this.lists[stream].blocks;
	}

	/** Adds an entry; answers whether it was new. */
	add(entry: LogEntry): boolean {
		const stderr = entry.stream === 'stderr';
		const key = `${entry.attempt ?? 0}/${entry.stream ?? ''}`;
		const number = Number(entry.line ?? 0);
		const last = this.last.get(key) ?? { line: 0, style: NO_STYLE };
		if (number > 0 && number <= last.line) return false;
		const note = entry.note ?? false;
		if (note && number === 0) {
			const content = `${key}/${entry.time}/${entry.text}`;
			if (this.notes.has(content)) return false;
			this.notes.add(content);
		}
		const raw = entry.text ?? '';
		const styled = ESCAPE.test(raw);
		const line: LogLine = {
			id: this.count++,
			stderr,
			note,
			attempt: entry.attempt ?? 0,
			time: entry.time,
			text: plainText(raw),
			raw: styled ? raw : undefined,
			style: note ? NO_STYLE : last.style
		};
		const style = styled && !note ? styledText(raw, last.style).end : last.style;
		this.last.set(key, { line: Math.max(number, last.line), style });
		this.lists.all.add(line);
		if (note || !stderr) this.lists.stdout.add(line);
		if (note || stderr) this.lists.stderr.add(line);
		this.characters += size(line);
		this.makeRoom();
		return true;
	}

	/** The lines that are held, as text. */
	text(stream: LogStream): string {
		return this.blocks(stream)
			.flatMap((block) => block.lines.map((line) => line.text))
			.join('\n');
	}

	private makeRoom(): void {
		while (this.count - this.dropped > MAX_LINES || this.characters > MAX_CHARACTERS) {
			const gone = this.lists.all.shift();
			const lastGone = gone?.lines.at(-1);
			if (!gone || !lastGone) return;
			this.dropped += gone.lines.length;
			for (const line of gone.lines) this.characters -= size(line);
			this.lists.stdout.dropThrough(lastGone.id);
			this.lists.stderr.dropThrough(lastGone.id);
		}
	}
}

function size(line: LogLine): number {
	return line.text.length + (line.raw?.length ?? 0);
}

/** Lines in blocks. What has been handed out is never changed: the first change after it copies. */
class BlockList {
	private list: LogBlock[] = [];
	private tail: LogLine[] = [];
	private handedOut = false;

	get blocks(): readonly LogBlock[] {
		this.handedOut = true;
		return this.list;
	}

	add(line: LogLine): void {
		this.own();
		if (this.list.length === 0 || this.tail.length >= BLOCK_LINES) {
			this.tail = [line];
			this.list.push({ id: line.id, lines: this.tail });
			return;
		}
		this.tail.push(line);
	}

	/** Takes the oldest block out. */
	shift(): LogBlock | undefined {
		this.own();
		const block = this.list.shift();
		return block;
	}

	/** Lets the lines up to one go. */
	dropThrough(id: number): void {
		const first = this.list[0]?.lines[0];
		if (!first || first.id > id) return;
		this.own();
		while ((this.list[0]?.lines.at(-1)?.id ?? Infinity) <= id) this.list.shift();
		const [oldest] = this.list;
		if (!oldest) return;
		const lines = oldest.lines.filter((line) => line.id > id);
		this.list[0] = { ...oldest, lines };
		if (this.list.length === 1) this.tail = lines;
	}

	/** Copies the list and its last block, once, after they were handed out. */
	private own(): void {
		if (!this.handedOut) return;
		this.handedOut = false;
		this.list = [...this.list];
		const last = this.list.at(-1);
		if (!last) return;
		this.tail = [...last.lines];
		this.list[this.list.length - 1] = { ...last, lines: this.tail };
	}
}
