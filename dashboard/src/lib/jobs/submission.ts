import type { JobSpec, operations } from '@orchion/api';
import {
	InputError,
	parseCores,
	parseDurationWithin,
	parsePairs,
	parseWhole
} from '../format/input';
import { plural } from '../format/number';
import { atMost, bytesOf, FormReader, type FormErrors, type TextKey } from '../ui/reader';
import { buildContainer, parseSize } from './container';
import { isJobId, type AfterRow, type JobForm } from './form';
import { DAY, LABEL_KEY, LIMITS } from './limits';
import { readPlacing } from './placing';
import { buildProcess } from './program';

type SubmitBody = operations['Jobs_SubmitJob']['requestBody']['content']['application/json'];

const QUEUE_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/;

/** The request that a form makes, or what is wrong with each field. */
export function buildJob(
	form: JobForm,
	now: number = Date.now()
): { body: SubmitBody } | { errors: FormErrors<JobForm> } {
	const reader = new FormReader(form);
	reader.short('name', LIMITS.name);
	const spec = readKind(reader);
	const resources = readResources(reader);
	if (Object.values(resources).some((amount) => Number(amount) > 0)) spec.resources = resources;
	Object.assign(spec, readPlacing(reader));
	reader.like(
		'queue',
		QUEUE_NAME,
		'use 1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit'
	);
	if (reader.text('queue')) spec.queue = reader.text('queue');
	const priority = reader.read('priority', (text) => parseWhole(text, -1000, 1000), undefined);
	if (priority) spec.priority = priority;
	if (form.preemptible) spec.preemptible = true;
	const after = reader.read('after', readAfter, []);
	if (after.length > 0) spec.after = after;
	const startAfter = reader.read('startAfter', (text) => parseStart(text, now), undefined);
	if (startAfter) spec.startAfter = startAfter;
	const retry = readRetry(reader);
	if (retry) spec.retry = retry;
	for (const [field, most] of [
		['queueTimeout', 30 * DAY],
		['startTimeout', DAY],
		['timeout', 30 * DAY]
	] as const) {
		const duration = time(reader, field, 1, most);
		if (duration) spec[field] = duration;
	}

	const body: SubmitBody = { spec };
	if (reader.text('name')) body.name = reader.text('name');
	const labels = reader.read('labels', parseLabels, {});
	if (Object.keys(labels).length > 0) body.labels = labels;
	const count = reader.read('count', (text) => parseWhole(text, 1, LIMITS.count), undefined);
	if (count) body.count = count;
	return reader.result(body);
}

function readKind(reader: FormReader<JobForm>): JobSpec {
	switch (reader.form.kind) {
		case 'container':
			return { container: buildContainer(reader) };
		case 'process':
			return { process: buildProcess(reader) };
		case 'chat':
			return { chat: chat(reader) };
	}
}

function chat(reader: FormReader<JobForm>): NonNullable<JobSpec['chat']> {
	const { form, errors } = reader;
	reader.need('chatModel', 'choose the model to ask');
	reader.short('chatModel', LIMITS.modelName);
	reader.like('chatModel', /^\S+$/, 'a model has no spaces in its name');
	reader.need('prompt', 'write what to ask the model');
	if (bytesOf(form.prompt) + bytesOf(form.system) > LIMITS.messageBytes) {
		errors.prompt = 'use at most 1 MiB together with the instructions';
	}
	const messages = [{ role: 'user', content: form.prompt }];
	if (form.system.trim()) messages.unshift({ role: 'system', content: form.system });
	const maxTokens = reader.read(
		'maxTokens',
		(text) => parseWhole(text, 1, LIMITS.chatTokens),
		undefined
	);
	return { model: reader.text('chatModel'), messages, ...(maxTokens && { maxTokens }) };
}

function readResources(reader: FormReader<JobForm>): NonNullable<JobSpec['resources']> {
	const cores = (text: string) => {
		const millis = parseCores(text);
		if (millis > LIMITS.cores * 1000) {
			throw new InputError(`use at most ${plural(LIMITS.cores, 'core')}`);
		}
		return millis;
	};
	const bytes = (field: 'memory' | 'gpuMemory' | 'disk', least = 0) =>
		String(reader.read(field, (text) => parseSize(text, least), 0));
	const resources = {
		cpuMillis: String(reader.read('cpu', cores, 0)),
		memoryBytes: bytes('memory', LIMITS.leastMemory),
		gpus: reader.read('gpus', (text) => parseWhole(text, 0, LIMITS.gpus), undefined) ?? 0,
		gpuMemoryBytes: bytes('gpuMemory'),
		diskBytes: bytes('disk')
	};
	return Object.fromEntries(
		Object.entries(resources).filter(([, amount]) => Number(amount) > 0)
	) as NonNullable<JobSpec['resources']>;
}

function readRetry(reader: FormReader<JobForm>): JobSpec['retry'] {
	const maxAttempts = reader.read(
		'maxAttempts',
		(text) => parseWhole(text, 1, LIMITS.attempts),
		undefined
	);
	const initialBackoff = time(reader, 'initialBackoff', 0, DAY);
	const maxBackoff = time(reader, 'maxBackoff', 0, DAY);
	if (initialBackoff && maxBackoff && parseFloat(maxBackoff) < parseFloat(initialBackoff)) {
		reader.errors.maxBackoff = 'use no less than the first backoff';
	}
	const codes = reader.read('noRetryExitCodes', parseExitCodes, []);
	if (!maxAttempts && !initialBackoff && !maxBackoff && codes.length === 0) return undefined;
	return {
		...(maxAttempts && { maxAttempts }),
		...(initialBackoff && { initialBackoff }),
		...(maxBackoff && { maxBackoff }),
		...(codes.length > 0 && { noRetryExitCodes: codes })
	};
}

function parseExitCodes(text: string): number[] {
	const codes = text.split(/[\s,]+/).flatMap((word) => parseWhole(word, 1, 255) ?? []);
	atMost(codes.length, LIMITS.exitCodes, 'exit code');
	return codes;
}

const time = (reader: FormReader<JobForm>, field: TextKey<JobForm>, least: number, most: number) =>
	reader.read(field, (text) => parseDurationWithin(text as string, least, most), undefined);

function readAfter(rows: AfterRow[]): NonNullable<JobSpec['after']> {
	atMost(rows.length, LIMITS.after, 'job');
	return rows.map(({ job, on }) => {
		if (!isJobId(job.trim())) {
			throw new InputError(
				job.trim() ? `no job is called “${job.trim()}”; give its id` : 'name the job to wait for'
			);
		}
		return { jobId: job.trim(), on };
	});
}

/** A local time as the API has it; empty is undefined. */
function parseStart(text: string, now: number): string | undefined {
	if (text.trim() === '') return undefined;
	const at = new Date(text);
	if (Number.isNaN(at.getTime())) throw new InputError('use a date with a time of day');
	if (at.getTime() > now + LIMITS.ahead * 1000) throw new InputError('use a time within a year');
	return at.toISOString();
}

function parseLabels(text: string): Record<string, string> {
	const labels = parsePairs(text, LABEL_KEY, 'a label');
	const entries = Object.entries(labels);
	atMost(entries.length, LIMITS.labels, 'label');
	for (const [key, value] of entries) {
		if (bytesOf(value) > LIMITS.labelValue) {
			throw new InputError(`${key}: use at most ${plural(LIMITS.labelValue, 'byte')} for a value`);
		}
	}
	return labels;
}
