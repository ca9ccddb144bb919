import { expect, it } from 'vitest';
import { queueForm, readQueueForm } from './edit';

it('reads back what it shows', () => {
	const form = queueForm({ name: 'night', weight: 3, maxRunning: 20, paused: true, queued: '4' });
	expect(form).toEqual({ name: 'night', weight: '3', limit: '20' });
	expect(readQueueForm(form)).toEqual({
		body: { name: 'night', weight: 3, maxRunning: 20 }
	});
	expect(readQueueForm(queueForm({ name: 'default', weight: 1, maxRunning: 0 }))).toEqual({
		body: { name: 'default', weight: 1, maxRunning: 0 }
	});
});

it('takes empty fields for the defaults, and names what is wrong', () => {
	expect(readQueueForm({ name: ' a ', weight: '', limit: '' })).toEqual({
		body: { name: 'a', weight: 1, maxRunning: 0 }
	});
	expect(readQueueForm({ name: '-a', weight: '0', limit: '-1' })).toEqual({
		errors: {
			name: 'use 1 to 63 of A-Z a-z 0-9 . _ -, starting with a letter or digit',
			weight: 'use a whole number from 1 to 1000',
			limit: 'use a whole number from 0 to 1000000'
		}
	});
});
