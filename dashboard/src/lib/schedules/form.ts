import type { PutSchedule, Schedule } from '../api/client';
import { asWritten } from '../jobs/written';
import { FormReader, type FormErrors } from '../ui/reader';

export type Overlap = NonNullable<Schedule['overlap']>;

/** When a schedule submits and what it does about the run before, as typed. */
export interface ScheduleForm {
	name: string;
	cron: string;
	/** Empty: UTC. */
	timeZone: string;
	overlap: Overlap;
	paused: boolean;
}

export const OVERLAPS: { value: Overlap; label: string; word: string }[] = [
	{ value: 'SCHEDULE_OVERLAP_ALLOW', label: 'both run', word: 'both run' },
	{ value: 'SCHEDULE_OVERLAP_SKIP', label: 'the new one is left out', word: 'skip' },
	{
		value: 'SCHEDULE_OVERLAP_REPLACE',
		label: 'the old one is cancelled, then the new one begins',
		word: 'replace'
	}
];

/** The label that a schedule's jobs have, with its name. */
export const SCHEDULE_LABEL = 'orchion/schedule';

/** The policy in a word or two. */
export const overlapWord = (overlap: Overlap | undefined) =>
	OVERLAPS.find((one) => one.value === overlap)?.word ?? 'both run';

export function scheduleForm(schedule?: Schedule): ScheduleForm {
	return {
		name: schedule?.name ?? '',
		cron: schedule?.cron ?? '',
		timeZone: schedule ? (schedule.timeZone ?? '') : ownTimeZone(),
		overlap: schedule?.overlap ?? 'SCHEDULE_OVERLAP_ALLOW',
		paused: schedule?.paused ?? false
	};
}

/** The time zone of this machine, as the orchestrator names it; UTC is its default. */
function ownTimeZone(): string {
	const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
	return zone === 'UTC' ? '' : zone;
}

/** The schedule that a form asks for, but for its job, or what is wrong with each field. */
export function readScheduleForm(
	form: ScheduleForm
):
	| { body: { name: string } & Omit<PutSchedule, 'template'> }
	| { errors: FormErrors<ScheduleForm> } {
	const reader = new FormReader(form);
	reader.like(
		'name',
		/^[a-z0-9][a-z0-9-]{0,62}$/,
		'use 1 to 63 of a-z, 0-9 and -, starting with a letter or digit'
	);
	reader.need('name', 'name the schedule, for example nightly');
	reader.short('cron', 256);
	reader.need('cron', 'say when, for example 30 3 * * 1-5');
	reader.like('timeZone', /^[A-Za-z0-9_+/-]{1,64}$/, 'use a name such as Europe/Oslo');
	return reader.result({
		name: reader.text('name'),
		cron: reader.text('cron'),
		timeZone: reader.text('timeZone'),
		overlap: form.overlap,
		paused: form.paused
	});
}

/** A schedule's job as JSON to edit, without what nobody has set. */
export function templateText(schedule: Schedule): string {
	const { name, labels, spec } = schedule.template ?? {};
	return JSON.stringify(
		{
			...(name && { name }),
			...(labels && Object.keys(labels).length > 0 && { labels }),
			spec: asWritten(spec ?? {})
		},
		null,
		2
	);
}

/** The job that a text in JSON says, as far as its shape goes: the rest the API checks. */
export function readTemplate(
	text: string
): { template: NonNullable<PutSchedule['template']> } | { error: string } {
	try {
		const template: unknown = JSON.parse(text);
		if (typeof template !== 'object' || template === null || !('spec' in template)) {
			return { error: 'use an object with spec, and name and labels if need be' };
		}
		return { template: template as NonNullable<PutSchedule['template']> };
	} catch (error) {
		return { error: `this is not JSON: ${error instanceof Error ? error.message : String(error)}` };
	}
}

/** Which field of the form an error of the API is about. */
export function scheduleFormField(path: string | undefined): keyof ScheduleForm | undefined {
	return (['name', 'cron', 'timeZone', 'overlap'] as const).find((field) => field === path);
}

/** A time on the clock of a time zone: "Mon 24 Nov 2025, 03:30". */
export function formatInZone(time: string | undefined, timeZone: string | undefined): string {
	const date = new Date(time ?? '');
	if (Number.isNaN(date.getTime())) return '–';
	try {
		return new Intl.DateTimeFormat('en-GB', {
			timeZone: timeZone || 'UTC',
			weekday: 'short',
			day: 'numeric',
			month: 'short',
			year: 'numeric',
			hour: '2-digit',
			minute: '2-digit'
		}).format(date);
	} catch {
		// A zone that the browser does not know, though the orchestrator does.
		return `${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
	}
}
