import type { JobSpec } from '@orchion/api';
import type { Plain } from '../format/yaml';

/** Fields of which zero says something else than nothing. */
const MEANT = new Set(['temperature']);

/**
 * A spec without what the API adds to it: it answers every field, those that nobody has set with
 * their zero.
 */
export function asWritten(spec: JobSpec): Plain {
	return prune(spec as Plain) ?? {};
}

function prune(value: Plain, key = ''): Plain {
	if (Array.isArray(value)) {
		// What stands in a list was put there.
		return value.length > 0
			? value.map((item) => (typeof item === 'object' ? (prune(item) ?? {}) : item))
			: undefined;
	}
	if (typeof value === 'object' && value !== null) {
		// The names in env and the like are the user's own, and so are empty values.
		if (key === 'env') return Object.keys(value).length > 0 ? value : undefined;
		const kept = Object.entries(value)
			.map(([name, one]) => [name, prune(one, name)] as const)
			.filter(([, one]) => one !== undefined);
		return kept.length > 0 ? Object.fromEntries(kept) : undefined;
	}
	if (MEANT.has(key)) return value;
	const unset = value === '' || value === 0 || value === '0' || value === false || value === null;
	return unset || (typeof value === 'string' && value.endsWith('_UNSPECIFIED')) ? undefined : value;
}
