import { expect, it } from 'vitest';
import { NO_STYLE, plainText, readableOn, styledText, type TextStyle } from './terminal';

const LINES: [line: string, text: string][] = [
	['plain\ttext', 'plain\ttext'],
	['\u001b[1;32mgreen\u001b[0m', 'green'],
	['\u001b[2K\u001b[1Gredrawn', 'redrawn'],
	['\u001b]8;;http://evil/\u0007link\u001b]8;;\u0007', 'link'],
	['\u001b]0;title\u001b\\text', 'text'],
	['\u009b31mred', 'red'],
	['\u001b]never closed', ''],
	['\u001b(Bascii', 'ascii'],
	[' 10 %\r 50 %\r100 %', '100 %'],
	['windows line\r', 'windows line'],
	['bell\u0007 and\u0000 nul\u007f', 'bell and nul'],
	['abc\u202etxt.exe', 'abc\ufffdtxt.exe'],
	['日本語 🎉', '日本語 🎉']
];

it.each(LINES)('%j becomes %j', (line, text) => expect(plainText(line)).toBe(text));

it.each([...LINES, ['\u001b[31mold\r\u001b[1mnew\u001b[0m\r\r', 'new'] as [string, string]])(
	'%j has the same text with styles',
	(line, text) => {
		const { runs } = styledText(line);
		expect(runs.map((run) => run.text).join('')).toBe(text);
	}
);

const red = 'rgb(205 0 0)';
it.each<[sequence: string, style: TextStyle]>([
	['\u001b[31m', { color: red }],
	['\u009b31m', { color: red }],
	['\u001b[1;2;3;4m', { bold: true, dim: true, italic: true, underline: true }],
	['\u001b[91;104m', { color: 'rgb(255 0 0)', background: 'rgb(92 92 255)' }],
	['\u001b[41m', { background: red }],
	['\u001b[38;5;9m', { color: 'rgb(255 0 0)' }],
	['\u001b[38;5;208m', { color: 'rgb(255 135 0)' }],
	['\u001b[48;5;232m', { background: 'rgb(8 8 8)' }],
	['\u001b[38;2;1;2;3;1m', { color: 'rgb(1 2 3)', bold: true }],
	['\u001b[38:2::1:2:3m', { color: 'rgb(1 2 3)' }],
	['\u001b[38:2:1:2:3m', { color: 'rgb(1 2 3)' }],
	['\u001b[38:5:208m', { color: 'rgb(255 135 0)' }],
	// The colour of the line below the text has numbers that are no codes.
	['\u001b[58;5;31;3m', { italic: true }],
	['\u001b[4:3m', { underline: true }],
	['\u001b[4m\u001b[4:0m', {}],
	['\u001b[1;31m\u001b[22m', { color: red, bold: false, dim: false }],
	['\u001b[31;41m\u001b[39;49m', {}],
	['\u001b[31m\u001b[m', {}],
	['\u001b[31m\u001b[0m', {}],
	// What is not known, not whole or out of range changes nothing.
	['\u001b[7;8;9;38m', {}],
	['\u001b[38;5m', {}],
	['\u001b[38;5;256m', {}],
	['\u001b[38;2;1;2;999m', {}],
	['\u001b[38;2;1;2m', {}],
	['\u001b[31;1H', {}],
	['\u001b[?31m', {}]
])('%j', (sequence, style) => {
	expect(styledText(`${sequence}x`).runs[0]?.style).toEqual(style);
});

it('leaves a style to the next line until it is reset', () => {
	const first = styledText('a \u001b[31mb');
	expect(first.runs).toEqual([
		{ text: 'a ', style: NO_STYLE },
		{ text: 'b', style: { color: red } }
	]);
	const second = styledText('c\u001b[0md', first.end);
	expect(second.runs).toEqual([
		{ text: 'c', style: { color: red } },
		{ text: 'd', style: NO_STYLE }
	]);
	expect(second.end).toBe(NO_STYLE);
});

it('writes black or white on a background', () => {
	expect(readableOn('rgb(255 255 0)')).toBe('rgb(0 0 0)');
	expect(readableOn('rgb(0 205 0)')).toBe('rgb(0 0 0)');
	expect(readableOn('rgb(0 0 238)')).toBe('rgb(255 255 255)');
});
