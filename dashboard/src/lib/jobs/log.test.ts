import { expect, it } from 'vitest';
import { BLOCK_LINES, LogBuffer, MAX_BLOCKS } from './log';

const entry = (line: number, stream = 'stdout', attempt = 1) => ({
	line: String(line),
	stream,
	attempt,
	text: `${stream} ${attempt}.${line}`
});

it('drops entries that it has, by stream and attempt', () => {
	const buffer = new LogBuffer();
	expect(buffer.add([entry(1), entry(2), entry(1, 'stderr')])).toBe(true);
	expect(buffer.add([entry(1), entry(2), entry(1, 'stderr')])).toBe(false);
	expect(buffer.add([entry(2), entry(3), entry(1, 'stdout', 2)])).toBe(true);
	expect(buffer.text()).toBe('stdout 1.1\nstdout 1.2\nstderr 1.1\nstdout 1.3\nstdout 2.1');
});

it('makes blocks, of which only the last changes', () => {
	const buffer = new LogBuffer();
	buffer.add(Array.from({ length: BLOCK_LINES + 1 }, (_, index) => entry(index + 1)));
	const before = buffer.blocks;
	buffer.add([entry(BLOCK_LINES + 2)]);
	expect(buffer.blocks).not.toBe(before);
	expect(buffer.blocks[0]).toBe(before[0]);
	expect(before[1]?.lines).toHaveLength(1);
	expect(buffer.blocks[1]?.lines).toHaveLength(2);
});

it('keeps the newest lines and counts those it let go', () => {
	const buffer = new LogBuffer();
	const total = BLOCK_LINES * (MAX_BLOCKS + 2);
	buffer.add(Array.from({ length: total }, (_, index) => entry(index + 1)));
	expect(buffer.blocks).toHaveLength(MAX_BLOCKS);
	expect(buffer.dropped).toBe(2 * BLOCK_LINES);
	expect(buffer.blocks.at(-1)?.lines.at(-1)?.text).toBe(`stdout 1.${total}`);
});
