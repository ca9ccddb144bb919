import type { Queue } from '../api/client';
import { InputError, parseWhole } from '../format/input';

/** As the API takes them. */
const MAX_WEIGHT = 1000;
const MAX_RUNNING = 1_000_000;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** The settings of a queue as typed. */
export interface QueueForm {
	name: string;
	weight: string;
	/** Empty: no limit. */
	limit: string;
}

export function queueForm(queue: Queue): QueueForm {
	return {
		name: queue.name ?? '',
		weight: String(queue.weight ?? 1),
		limit: queue.maxRunning ? String(queue.maxRunning) : ''
	};
}

/** The settings that a form asks for, or what is wrong with each field. */
export function readQueueForm(
	form: QueueForm
):
	| { name: string; weight: number; maxRunning: number }
	| { errors: Partial<Record<keyof QueueForm, string>> } {
	const errors: Partial<Record<keyof QueueForm, string>> = {};
	const whole = (field: 'weight' | 'limit', least: number, most: number) => {
		try {
			return parseWhole(form[field], least, most);
		} catch (error) {
			if (!(error instanceof InputError)) throw error;
			errors[field] = error.message;
			return undefined;
		}
	};
	const name = form.name.trim();
	if (!NAME.test(name)) {
		errors.name = 'use 1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit';
	}
	const weight = whole('weight', 1, MAX_WEIGHT) ?? 1;
	const maxRunning = whole('limit', 0, MAX_RUNNING) ?? 0;
	return Object.keys(errors).length > 0 ? { errors } : { name, weight, maxRunning };
}
