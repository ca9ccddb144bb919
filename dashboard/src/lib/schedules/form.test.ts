import { expect, it } from 'vitest';
import {
	formatInZone,
	readScheduleForm,
	readTemplate,
	scheduleForm,
	scheduleFormField,
	templateText
} from './form';

const nightly = {
	name: 'nightly',
	cron: '30 3 * * *',
	timeZone: 'Europe/Oslo',
	overlap: 'SCHEDULE_OVERLAP_SKIP' as const,
	paused: true
};

it('reads back what it shows', () => {
	expect(readScheduleForm(scheduleForm(nightly))).toEqual({ body: nightly });
});

it('names every field that is wrong at once', () => {
	expect(
		readScheduleForm({ ...scheduleForm(nightly), name: 'Night', cron: ' ', timeZone: 'my own' })
	).toEqual({
		errors: {
			name: 'use 1 to 63 of a-z, 0-9 and -, starting with a letter or digit',
			cron: 'say when, for example 30 3 * * 1-5',
			timeZone: 'use a name such as Europe/Oslo'
		}
	});
});

it('gives the job as JSON that it reads back, without what nobody has set', () => {
	const text = templateText({
		template: {
			name: '',
			labels: {},
			spec: { container: { image: 'alpine', args: [], env: {} }, priority: 0, queue: 'night' }
		}
	});
	expect(readTemplate(text)).toEqual({
		template: { spec: { container: { image: 'alpine' }, queue: 'night' } }
	});
	expect(readTemplate('{')).toEqual({ error: expect.stringMatching(/^this is not JSON: /) });
	expect(readTemplate('[]')).toEqual({
		error: 'use an object with spec, and name and labels if need be'
	});
});

it('finds the field of an API error', () => {
	expect(scheduleFormField('timeZone')).toBe('timeZone');
	expect(scheduleFormField('template.spec.queue')).toBeUndefined();
});

it('tells a time by the clock of its zone', () => {
	expect(formatInZone('2026-03-29T01:30:00Z', 'Europe/Oslo')).toBe('Sun, 29 Mar 2026, 03:30');
	expect(formatInZone('2026-03-29T01:30:00Z', '')).toBe('Sun, 29 Mar 2026, 01:30');
	expect(formatInZone('2026-03-29T01:30:00Z', 'Mars')).toBe('2026-03-29 01:30 UTC');
	expect(formatInZone(undefined, 'UTC')).toBe('–');
});
