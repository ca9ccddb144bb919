/** What an API body is made of. */
export type Plain =
	string | number | boolean | null | undefined | Plain[] | { [key: string]: Plain };

/**
 * A value as YAML. A string that YAML could take for something else is written in double quotes as
 * JSON writes it, which YAML reads the same; what is undefined is left out.
 */
export function toYaml(value: Plain): string {
	return `${lines(value, '').join('\n')}\n`;
}

/** Text that means itself in YAML: no number, date, truth value, mark or space at its ends. */
const SIMPLE = /^[A-Za-z/][\w./@%+=-]*(?:[ :][\w./@%+=-]+)*$/;
const RESERVED = /^(?:true|false|yes|no|on|off|null|y|n)$/i;

function scalar(value: string | number | boolean | null): string {
	if (typeof value !== 'string') return String(value);
	return SIMPLE.test(value) && !RESERVED.test(value) ? value : JSON.stringify(value);
}

function lines(value: Plain, indent: string): string[] {
	if (Array.isArray(value)) {
		if (value.length === 0) return [`${indent}[]`];
		return value.flatMap((item) => {
			const [first = '', ...rest] = lines(item ?? null, `${indent}  `);
			return [`${indent}- ${first.slice(indent.length + 2)}`, ...rest];
		});
	}
	if (typeof value === 'object' && value !== null) {
		const entries = Object.entries(value).filter(([, one]) => one !== undefined);
		if (entries.length === 0) return [`${indent}{}`];
		return entries.flatMap(([key, one]) => {
			const name = `${indent}${scalar(key)}:`;
			const nested =
				typeof one === 'object' &&
				one !== null &&
				Object.values(one).some((part) => part !== undefined);
			return nested ? [name, ...lines(one, `${indent}  `)] : [`${name} ${lines(one, '').join('')}`];
		});
	}
	return [`${indent}${scalar(value ?? null)}`];
}
