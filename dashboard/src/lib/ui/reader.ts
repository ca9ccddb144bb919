import { InputError } from '../format/input';
import { plural } from '../format/number';

/** What is wrong with the fields of a form. */
export type FormErrors<F> = Partial<Record<keyof F, string>>;

/** The fields of a form that are text as typed. */
export type TextKey<F> = { [K in keyof F]: F[K] extends string ? K : never }[keyof F];

export const bytesOf = (text: string) => new TextEncoder().encode(text).length;

export function atMost(count: number, most: number, what: string): void {
	if (count > most) throw new InputError(`use at most ${plural(most, what)}`);
}

/** FormReader reads the fields of a form and collects what is wrong with each. */
export class FormReader<F extends object> {
	readonly errors: FormErrors<F> = {};

	constructor(readonly form: F) {}

	/** A field's text without blanks around it. */
	text(field: TextKey<F>): string {
		return (this.form[field] as string).trim();
	}

	/** What parse makes of a field; otherwise when it throws an InputError, which is noted. */
	read<K extends keyof F, T>(field: K, parse: (value: F[K]) => T, otherwise: T): T {
		try {
			return parse(this.form[field]);
		} catch (error) {
			if (!(error instanceof InputError)) throw error;
			this.errors[field] = error.message;
			return otherwise;
		}
	}

	need(field: TextKey<F>, message: string): void {
		if (this.text(field) === '') this.errors[field] = message;
	}

	/** A text that may hold so many bytes at most. */
	short(field: TextKey<F>, most: number): void {
		if (bytesOf(this.text(field)) > most) {
			this.errors[field] = `use at most ${plural(most, 'byte')}`;
		}
	}

	/** A text that is empty or as a pattern says. */
	like(field: TextKey<F>, pattern: RegExp, message: string): void {
		const text = this.text(field);
		if (text && !pattern.test(text)) this.errors[field] = message;
	}

	/** The request, or what is wrong. */
	result<B>(body: B): { body: B } | { errors: FormErrors<F> } {
		return Object.keys(this.errors).length > 0 ? { errors: this.errors } : { body };
	}
}
