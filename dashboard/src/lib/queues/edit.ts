import type { Queue } from '../api/client';
import { parseWhole } from '../format/input';
import { FormReader, type FormErrors } from '../ui/reader';

/** As the API takes them. */
const MAX_WEIGHT = 1000;
const MAX_RUNNING = 1_000_000;
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;
const NAME_HELP = 'use 1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit';

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
	| { body: { name: string; weight: number; maxRunning: number } }
	| { errors: FormErrors<QueueForm> } {
	const reader = new FormReader(form);
	reader.like('name', NAME, NAME_HELP);
	reader.need('name', NAME_HELP);
	return reader.result({
		name: reader.text('name'),
		weight: reader.read('weight', (text) => parseWhole(text, 1, MAX_WEIGHT), undefined) ?? 1,
		maxRunning: reader.read('limit', (text) => parseWhole(text, 0, MAX_RUNNING), undefined) ?? 0
	});
}
