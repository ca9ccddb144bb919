// Reading what people type into forms. Each function answers the value or throws an InputError
// whose message says what to type instead.
import { formatSpan } from './time';

export class InputError extends Error {
	override readonly name = 'InputError';
}

const BYTE_UNITS: Record<string, number> = {
	'': 1,
	b: 1,
	k: 1e3,
	kb: 1e3,
	kib: 1024,
	m: 1e6,
	mb: 1e6,
	mib: 1024 ** 2,
	g: 1e9,
	gb: 1e9,
	gib: 1024 ** 3,
	t: 1e12,
	tb: 1e12,
	tib: 1024 ** 4
};

/** "512MiB", "1.5 GiB" or plain bytes, as a whole number of bytes; empty is 0. */
export function parseBytes(text: string): number {
	const trimmed = text.trim();
	if (trimmed === '') return 0;
	const [, amount, unit] = /^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$/.exec(trimmed) ?? [];
	const factor = BYTE_UNITS[(unit ?? '').toLowerCase()];
	const bytes = Math.round(Number(amount) * (factor ?? NaN));
	if (!Number.isSafeInteger(bytes)) {
		throw new InputError('use a size such as 512MiB or 2GiB');
	}
	return bytes;
}

/** Cores as "0.5" or "2", in thousandths; empty is 0. */
export function parseCores(text: string): number {
	const trimmed = text.trim();
	if (trimmed === '') return 0;
	const millis = Math.round(Number(trimmed) * 1000);
	if (!/^\d*\.?\d+$/.test(trimmed) || !Number.isSafeInteger(millis)) {
		throw new InputError('use a number of cores such as 0.5 or 2');
	}
	return millis;
}

/** A whole number from min to max; empty is undefined. */
export function parseWhole(text: string, min: number, max: number): number | undefined {
	const trimmed = text.trim();
	if (trimmed === '') return undefined;
	const value = Number(trimmed);
	if (!/^-?\d+$/.test(trimmed) || value < min || value > max) {
		throw new InputError(`use a whole number from ${min} to ${max}`);
	}
	return value;
}

const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** "90s", "10m", "1h30m" as the API's duration ("5400s"); empty is undefined. */
export function parseDuration(text: string): string | undefined {
	const trimmed = text.replace(/\s+/g, '');
	if (trimmed === '') return undefined;
	if (!/^(\d+(\.\d+)?[smhd])+$/.test(trimmed)) {
		throw new InputError('use a time such as 90s, 10m or 1h30m');
	}
	let seconds = 0;
	for (const [, amount, unit] of trimmed.matchAll(/(\d+(?:\.\d+)?)([smhd])/g)) {
		seconds += Number(amount) * (SECONDS[unit ?? 's'] ?? 1);
	}
	return `${Number(seconds.toFixed(3))}s`;
}

/** A duration between two bounds in seconds; empty is undefined. */
export function parseDurationWithin(text: string, least: number, most: number): string | undefined {
	const duration = parseDuration(text);
	if (duration === undefined) return undefined;
	const seconds = parseFloat(duration);
	if (seconds < least || seconds > most) {
		const from = least > 0 ? `from ${formatSpan(least * 1000)} ` : '';
		throw new InputError(`use a time ${from}up to ${formatSpan(most * 1000)}`);
	}
	return duration;
}

/** KEY=VALUE, one a line; blank lines and # comments are skipped, "export " and quotes taken off. */
export function parsePairs(text: string, keyPattern: RegExp, what: string): Record<string, string> {
	const pairs: Record<string, string> = {};
	for (const [index, raw] of text.split('\n').entries()) {
		const line = raw.trim().replace(/^export\s+/, '');
		if (line === '' || line.startsWith('#')) continue;
		const equals = line.indexOf('=');
		const key = line.slice(0, Math.max(0, equals)).trim();
		if (equals < 1 || !keyPattern.test(key)) {
			throw new InputError(`line ${index + 1}: write ${what} as NAME=value`);
		}
		pairs[key] = unquote(line.slice(equals + 1).trim());
	}
	return pairs;
}

function unquote(value: string): string {
	const quoted = /^(["'])(.*)\1$/s.exec(value);
	return quoted ? (quoted[2] ?? '') : value;
}

/** One entry a line, without blank lines. */
export function parseLines(text: string): string[] {
	return text
		.split('\n')
		.map((line) => line.trim())
		.filter((line) => line !== '');
}

/**
 * Words as a shell splits them: by blanks, with '...', "..." and backslash; nothing is expanded, so
 * that $HOME stays $HOME.
 */
export function splitWords(text: string): string[] {
	const words: string[] = [];
	let word: string | undefined;
	let quote: '"' | "'" | undefined;
	for (let i = 0; i < text.length; i++) {
		const character = text.charAt(i);
		if (quote === undefined && /\s/.test(character)) {
			if (word !== undefined) words.push(word);
			word = undefined;
		} else if (quote === undefined && (character === '"' || character === "'")) {
			quote = character;
			word ??= '';
		} else if (character === quote) {
			quote = undefined;
		} else if (character === '\\' && quote !== "'") {
			const next = text.charAt(++i);
			if (next === '') throw new InputError('a backslash at the end escapes nothing');
			// Within double quotes a shell keeps a backslash before any other character.
			word = (word ?? '') + (quote === '"' && !/["\\$`]/.test(next) ? `\\${next}` : next);
		} else {
			word = (word ?? '') + character;
		}
	}
	if (quote !== undefined) throw new InputError(`a ${quote} is not closed`);
	if (word !== undefined) words.push(word);
	return words;
}
