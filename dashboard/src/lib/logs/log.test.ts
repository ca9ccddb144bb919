import { expect, it } from 'vitest';
import { BLOCK_LINES, LogBuffer, MAX_CHARACTERS, MAX_LINES } from './log';

const entry = (line: number, stream = 'stdout', attempt = 1) => ({
	line: String(line),
	stream,
	attempt,
	text: `${stream} ${attempt}.${line}`
});

function fill(buffer: LogBuffer, from: number, count: number, stream?: string) {
	for (let line = from; line < from + count; line++) buffer.add(entry(line, stream));
}

it('drops entries that it has, by stream and attempt', () => {
	const buffer = new LogBuffer();
	const add = (...entries: ReturnType<typeof entry>[]) => entries.map((one) => buffer.add(one));
	expect(add(entry(1), entry(2), entry(1, 'stderr'))).toEqual([true, true, true]);
	expect(add(entry(1), entry(2), entry(1, 'stderr'))).toEqual([false, false, false]);
	expect(add(entry(2), entry(3), entry(1, 'stdout', 2))).toEqual([false, true, true]);
	expect(buffer.text('all')).toBe('stdout 1.1\nstdout 1.2\nstderr 1.1\nstdout 1.3\nstdout 2.1');
	expect(buffer.text('stderr')).toBe('stderr 1.1');
	expect(buffer.text('stdout')).toBe('stdout 1.1\nstdout 1.2\nstdout 1.3\nstdout 2.1');
});

it('hands out blocks that do not change any more', () => {
	const buffer = new LogBuffer();
	fill(buffer, 1, BLOCK_LINES + 1);
	const before = buffer.blocks('all');
	buffer.add(entry(BLOCK_LINES + 2));
	const after = buffer.blocks('all');
	expect(after).not.toBe(before);
	expect(after[0]).toBe(before[0]);
	expect(before[1]?.lines).toHaveLength(1);
	expect(after[1]?.lines).toHaveLength(2);
	expect(buffer.blocks('all')).toBe(after);
});

it('keeps the newest lines and counts those it let go', () => {
	const buffer = new LogBuffer();
	fill(buffer, 1, 50, 'stderr');
	fill(buffer, 1, MAX_LINES + BLOCK_LINES);
	expect(buffer.dropped).toBe(2 * BLOCK_LINES);
	const held = (stream: 'all' | 'stdout' | 'stderr') =>
		buffer.blocks(stream).flatMap((block) => block.lines);
	expect(held('all')).toHaveLength(buffer.count - buffer.dropped);
	expect(held('all').length).toBeLessThanOrEqual(MAX_LINES);
	expect(held('all').at(-1)?.text).toBe(`stdout 1.${MAX_LINES + BLOCK_LINES}`);
	expect(held('stderr')).toEqual([]);
	// The filtered list begins where the whole one does, even within a block.
	expect(held('stdout')).toEqual(held('all'));
	buffer.add(entry(51, 'stderr'));
	expect(held('stderr').map((line) => line.text)).toEqual(['stderr 1.51']);
});

it('holds a bounded number of characters, however long the lines are', () => {
	const buffer = new LogBuffer();
	const text = 'x'.repeat(16 * 1024);
	const lines = MAX_CHARACTERS / text.length + BLOCK_LINES;
	for (let line = 1; line <= lines; line++) buffer.add({ ...entry(line), text });
	const held = buffer.blocks('all').flatMap((block) => block.lines);
	expect(held.length * text.length).toBeLessThanOrEqual(MAX_CHARACTERS);
	expect(held.length).toBeGreaterThan((MAX_CHARACTERS / text.length) * 0.9);
	expect(buffer.dropped).toBe(lines - held.length);
});

it('begins a line in the style that the last of its stream and attempt left', () => {
	const buffer = new LogBuffer();
	buffer.add({ ...entry(1), text: '\u001b[31mred' });
	buffer.add(entry(1, 'stderr'));
	buffer.add(entry(2));
	buffer.add(entry(1, 'stdout', 2));
	const [first, other, second, next] = buffer.blocks('all')[0]?.lines ?? [];
	expect(first).toMatchObject({ text: 'red', raw: '\u001b[31mred', style: {} });
	expect(other?.style).toEqual({});
	expect(second).toMatchObject({ raw: undefined, style: { color: 'rgb(205 0 0)' } });
	expect(next?.style).toEqual({});
});

it('keeps notes on the log whatever stream is shown, and once', () => {
	const buffer = new LogBuffer();
	const note = (time: string) => ({
		stream: 'stderr',
		attempt: 1,
		line: '0',
		note: true,
		time,
		text: '7 lines dropped'
	});
	buffer.add(entry(1));
	expect([note('a'), note('a'), note('b')].map((one) => buffer.add(one))).toEqual([
		true,
		false,
		true
	]);
	buffer.add(entry(9));
	const dropped = '7 lines dropped\n7 lines dropped';
	expect(buffer.text('stdout')).toBe(`stdout 1.1\n${dropped}\nstdout 1.9`);
	expect(buffer.text('stderr')).toBe(dropped);
});
