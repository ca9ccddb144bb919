import { expect, it } from 'vitest';
import { plainText } from './terminal';

it.each([
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
])('%j becomes %j', (line, text) => expect(plainText(line)).toBe(text));
