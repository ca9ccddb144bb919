import { expect, it } from 'vitest';
import { styledText } from '../format/terminal';
import { LogBuffer } from './log';
import { countBelow, LogSearch, markRuns, nextMatch, searchPattern } from './search';

const pattern = (text: string) => searchPattern(text) as RegExp;

it('takes what is typed as it is, whatever its case', () => {
	expect(searchPattern('')).toBeUndefined();
	expect('a.c ABC [x](y) $1-2/3'.match(pattern('A.C'))).toEqual(['a.c']);
	for (const text of ['[x](y)', '$1-2/3', '\\', '^|', '{1}', 'ÄÖ', '🎉']) {
		expect(text.toLowerCase().match(pattern(text)), text).toHaveLength(1);
	}
});

it('cuts runs at what is found, across styles', () => {
	const { runs } = styledText('an err\u001b[31mor and Error\u001b[0m');
	const marked = markRuns(runs, pattern('error'));
	expect(marked.map(({ text, found }) => [text, found])).toEqual([
		['an ', false],
		['err', true],
		['or', true],
		[' and ', false],
		['Error', true]
	]);
	expect(marked[2]?.style).toEqual({ color: 'rgb(205 0 0)' });
	expect(markRuns(styledText('aaaa').runs, pattern('aa'))).toEqual([
		{ text: 'aa', style: {}, found: true },
		{ text: 'aa', style: {}, found: true }
	]);
	expect(markRuns(runs, undefined).every(({ found }) => !found)).toBe(true);
});

it('looks at what is new, and forgets what is gone', () => {
	const buffer = new LogBuffer();
	const add = (line: number, text: string) =>
		buffer.add({ line: String(line), stream: 'stdout', attempt: 1, text });
	const even = pattern('even');
	const search = new LogSearch(even);
	for (let line = 1; line <= 500; line++) add(line, line % 2 ? 'odd' : 'Even');
	expect(search.update(buffer.blocks('all'))).toHaveLength(250);
	const before = search.update(buffer.blocks('all'));
	add(501, 'odd');
	add(502, 'even even');
	const ids = search.update(buffer.blocks('all'));
	expect(ids).not.toBe(before);
	expect(ids).toHaveLength(251);
	expect(ids.at(-1)).toBe(501);
	expect(markRuns([{ text: 'even', style: {} }], even)[0]?.found).toBe(true);
	expect(search.update(buffer.blocks('all').slice(2))).toHaveLength(151);
});

it('goes forward and back, round the end', () => {
	const ids = [3, 7, 20];
	expect([undefined, 3, 7, 10, 20].map((from) => nextMatch(ids, from, true))).toEqual([
		3, 7, 20, 20, 3
	]);
	expect([undefined, 20, 10, 3].map((from) => nextMatch(ids, from, false))).toEqual([20, 7, 7, 20]);
	expect(nextMatch([], 1, true)).toBeUndefined();
	expect([0, 3, 4, 21].map((limit) => countBelow(ids, limit))).toEqual([0, 0, 1, 3]);
});
