/** One condition on labels: key=value, key!=value, or key. */
interface Requirement {
	key: string;
	equal: boolean;
	/** Undefined: the key's being there is enough. */
	value: string | undefined;
}

export type Selector = Requirement[];

/** As the API takes it. */
const MAX_REQUIREMENTS = 32;

/** Reads a label selector as the API does, or answers what is wrong with it. */
export function parseSelector(text: string): Selector | { error: string } {
	if (text.trim() === '') return [];
	const parts = text.split(',').map((part) => part.trim());
	if (parts.length > MAX_REQUIREMENTS) return { error: `use at most ${MAX_REQUIREMENTS} labels` };
	const selector = parts.map((part): Requirement => {
		const [, key = '', operator, value = ''] =
			/^([^=!]*(?:!(?!=)[^=!]*)*)(!?=)?(.*)$/s.exec(part) ?? [];
		return {
			key: key.trim(),
			equal: operator !== '!=',
			value: operator === undefined ? undefined : value.trim()
		};
	});
	if (selector.some(({ key }) => key === ''))
		return { error: 'write key=value, key!=value or key' };
	return selector;
}

/** Whether labels meet every condition; a key that is missing meets key!=value. */
export function matchesSelector(
	selector: Selector,
	labels: Record<string, string> | undefined
): boolean {
	return selector.every(({ key, equal, value }) => {
		const has = labels !== undefined && Object.hasOwn(labels, key);
		if (value === undefined) return has;
		return equal ? has && labels[key] === value : !has || labels[key] !== value;
	});
}
