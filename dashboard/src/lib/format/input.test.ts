import { describe, expect, it } from 'vitest';
import { parseBytes, parseCores, parseDuration, parsePairs, parseWhole, splitWords } from './input';

describe('parseBytes', () => {
	it.each([
		['', 0],
		['1048576', 1048576],
		['512MiB', 512 * 1024 ** 2],
		[' 1.5 gib ', 1.5 * 1024 ** 3],
		['2GB', 2e9]
	])('%j is %s', (text, bytes) => expect(parseBytes(text)).toBe(bytes));
	it.each(['much', '-1', '1 XB', '1e99GiB', '99999999 TiB'])('%j is refused', (text) =>
		expect(() => parseBytes(text)).toThrow('use a size such as 512MiB or 2GiB')
	);
});

it('parseCores reads cores as thousandths', () => {
	expect(parseCores('0.5')).toBe(500);
	expect(parseCores('.25')).toBe(250);
	expect(parseCores('')).toBe(0);
	for (const text of ['-1', 'two', '1e3']) {
		expect(() => parseCores(text)).toThrow('use a number of cores such as 0.5 or 2');
	}
});

it('parseWhole holds to its bounds', () => {
	expect(parseWhole('-1000', -1000, 1000)).toBe(-1000);
	expect(parseWhole(' ', 1, 2)).toBeUndefined();
	for (const text of ['1001', '1.5', 'x']) {
		expect(() => parseWhole(text, -1000, 1000)).toThrow('use a whole number from -1000 to 1000');
	}
});

it('parseDuration reads units and answers seconds', () => {
	expect(parseDuration('90s')).toBe('90s');
	expect(parseDuration('1h 30m')).toBe('5400s');
	expect(parseDuration('0.5s')).toBe('0.5s');
	expect(parseDuration('')).toBeUndefined();
	for (const text of ['10', 'm', '1h30']) {
		expect(() => parseDuration(text)).toThrow('use a time such as 90s, 10m or 1h30m');
	}
});

it('parsePairs reads an environment file', () => {
	const text = '# a comment\nA=1\n\nexport B="two words"\nURL=http://x/?a=b\nEMPTY=\n';
	expect(parsePairs(text, /^\w+$/, 'a variable')).toEqual({
		A: '1',
		B: 'two words',
		URL: 'http://x/?a=b',
		EMPTY: ''
	});
	expect(() => parsePairs('A=1\nno value', /^\w+$/, 'a variable')).toThrow(
		'line 2: write a variable as NAME=value'
	);
	expect(() => parsePairs('a b=1', /^\w+$/, 'a label')).toThrow(
		'line 1: write a label as NAME=value'
	);
});

describe('splitWords', () => {
	it.each([
		['', []],
		['  a   b ', ['a', 'b']],
		[`sh -c 'echo "$HOME"'`, ['sh', '-c', 'echo "$HOME"']],
		[`"a b"c 'd'`, ['a bc', 'd']],
		[`''`, ['']],
		['a\\ b', ['a b']],
		['"a\\"b \\n"', ['a"b \\n']],
		["'a\\b'", ['a\\b']],
		['a\nb\tc', ['a', 'b', 'c']]
	])('%j', (text, words) => expect(splitWords(text)).toEqual(words));
	it('says what is not closed', () => {
		expect(() => splitWords(`say "hi`)).toThrow('a " is not closed');
		expect(() => splitWords('a\\')).toThrow('a backslash at the end escapes nothing');
	});
});
