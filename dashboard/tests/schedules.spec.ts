import { job, schedule } from './fixture/objects';
import { expect, test } from './fixture/test';

test('schedules are listed, and change by events', async ({ page, orchestrator }) => {
	await page.goto('/schedules');
	const rows = page.getByRole('table', { name: 'Schedules' }).getByRole('row');
	await expect(rows).toHaveCount(4);
	await expect(page.locator('#main header').getByText('3 schedules')).toBeVisible();
	await expect(rows.nth(1)).toContainText('hourly-report');
	await expect(rows.nth(1)).toContainText('UTC, both run');
	await expect(rows.nth(1)).toContainText('had not ended');
	await expect(rows.nth(2)).toContainText('Europe/Oslo, skip');
	await expect(rows.nth(2)).toContainText('in 9 h');
	await expect(rows.nth(3)).toContainText('paused');
	await expect(rows.nth(3)).toContainText('never');
	orchestrator.putSchedule(schedule('annual', { cron: '@yearly' }));
	await expect(rows.nth(1)).toContainText('@yearly');
	orchestrator.removeSchedule('annual');
	await expect(rows).toHaveCount(4);
});

test('many schedules are filtered by name', async ({ page, orchestrator }) => {
	for (let index = 0; index < 150; index++) {
		orchestrator.schedules.set(`report-${index}`, schedule(`report-${index}`));
	}
	await page.goto('/schedules');
	await expect(page.getByText('100 of 153 schedules')).toBeVisible();
	await page.getByRole('button', { name: 'Show more schedules' }).click();
	await expect(page.getByRole('row')).toHaveCount(154);
	await page.getByRole('searchbox', { name: 'Filter schedules' }).fill('Night');
	await expect(page.getByRole('row')).toHaveCount(2);
	await page.keyboard.press('Escape');
	await expect(page.getByRole('row')).toHaveCount(154);
});

test('a schedule is paused, resumed and run from the list', async ({ page, orchestrator }) => {
	await page.goto('/schedules');
	await page.getByRole('button', { name: 'Pause nightly' }).click();
	await expect(page.getByRole('button', { name: 'Resume nightly' })).toBeVisible();
	await page.getByRole('button', { name: 'Run quarterly now' }).click();
	await expect(page.getByText('quarterly runs now')).toBeVisible();
	await page.getByRole('link', { name: 'Last run of quarterly' }).click();
	await expect(page.getByRole('heading', { level: 1, name: 'triggered' })).toBeVisible();
	expect(orchestrator.calls.map(({ method, path, body }) => [method, path, body])).toEqual([
		['PATCH', '/api/schedules/nightly', { paused: true }],
		['POST', '/api/schedules/quarterly:trigger', {}]
	]);
});

test('a schedule has its runs, what it submits and when, and is deleted after a question', async ({
	page,
	orchestrator
}) => {
	const run = job(500, 'JOB_STATE_SUCCEEDED', { labels: { 'orchion/schedule': 'nightly' } });
	orchestrator.putJob(run);
	await page.goto('/schedules/nightly');
	const runs = page.getByRole('table', { name: 'Runs' }).getByRole('row');
	await expect(runs).toHaveCount(2);
	await expect(runs.nth(1)).toContainText(run.name ?? '');
	await expect(page.getByText('registry.example.org/weather:3', { exact: true })).toBeVisible();
	await expect(page.getByText('Thu, 1 Jan 2026, 04:30')).toBeVisible();
	await page.getByRole('button', { name: 'Run now' }).click();
	await expect(runs).toHaveCount(3);
	await expect(runs.nth(1)).toContainText('triggered');
	await page.getByRole('button', { name: 'Delete' }).click();
	const dialog = page.getByRole('dialog');
	await expect(dialog).toContainText('The jobs that it has submitted stay');
	await dialog.getByRole('button', { name: 'Keep' }).click();
	expect(orchestrator.schedules.has('nightly')).toBe(true);
	await page.getByRole('button', { name: 'Delete' }).click();
	await dialog.getByRole('button', { name: 'Delete schedule' }).click();
	await expect(page).toHaveURL(/\/schedules$/);
	await expect(page.getByRole('row')).toHaveCount(3);
});

test('a schedule that somebody else deletes says so', async ({ page, orchestrator }) => {
	await page.goto('/schedules/nightly');
	await expect(page.getByRole('heading', { level: 1, name: 'nightly' })).toBeVisible();
	orchestrator.removeSchedule('nightly');
	await expect(page.getByText('There is no schedule “nightly”')).toBeVisible();
});

test.describe('the form', () => {
	// The preview of what is wrong is refused, and so is a name that is free.
	test.use({ networkErrors: true });

	test('shows when it would run, checks what is typed, and makes it', async ({
		page,
		orchestrator
	}) => {
		await page.goto('/schedules');
		await page.getByRole('link', { name: 'New schedule' }).click();
		await page.getByRole('button', { name: 'Make schedule' }).click();
		await expect(page.getByText('name the schedule, for example nightly')).toBeVisible();
		await expect(page.getByText('say when, for example')).toBeVisible();
		await expect(page.getByText('name the image to run')).toBeVisible();
		const name = page.getByLabel('Name of the schedule');
		await expect(name).toBeFocused();
		const preview = page.getByRole('region', { name: 'Next runs' });
		await page.getByRole('textbox', { name: 'When' }).fill('often');
		await expect(preview).toContainText('cron: is "often"; write five fields');
		await page.getByRole('textbox', { name: 'When' }).fill('30 3 * * *');
		await page.getByLabel('Time zone').fill('Europe/Oslo');
		await expect(preview.getByRole('listitem')).toHaveCount(5);
		await expect(preview).toContainText('Thu, 1 Jan 2026, 04:30');
		await page
			.getByLabel('When the run before has not ended')
			.selectOption('the new one is left out');
		await page.getByRole('textbox', { name: 'Image' }).fill('alpine');
		await name.fill('nightly');
		await page.getByRole('button', { name: 'Make schedule' }).click();
		await expect(page.getByText('there is a schedule “nightly” already')).toBeVisible();
		await name.fill('fresh');
		await page.getByLabel('Queue', { exact: true }).fill('closed');
		await page.getByRole('button', { name: 'Make schedule' }).click();
		await expect(page.getByText('template.spec.queue: is closed')).toBeVisible();
		await page.getByLabel('Queue', { exact: true }).fill('night');
		await page.getByRole('button', { name: 'Make schedule' }).click();
		await expect(page.getByRole('heading', { level: 1, name: 'fresh' })).toBeVisible();
		expect(orchestrator.calls.at(-1)).toEqual({
			method: 'PUT',
			path: '/api/schedules/fresh',
			body: {
				cron: '30 3 * * *',
				timeZone: 'Europe/Oslo',
				overlap: 'SCHEDULE_OVERLAP_SKIP',
				paused: false,
				template: {
					spec: {
						container: { image: 'alpine', pullPolicy: 'PULL_POLICY_IF_NOT_PRESENT' },
						queue: 'night'
					}
				}
			}
		});
	});
});

test('a schedule is edited, its job as the API has it', async ({ page, orchestrator }) => {
	await page.goto('/schedules/nightly');
	await page.getByRole('link', { name: 'Edit' }).click();
	const template = page.getByLabel('The job, as JSON');
	await expect(template).toHaveValue(/"image": "registry.example.org\/weather:3"/);
	await page.getByRole('textbox', { name: 'When' }).fill('@daily');
	await template.fill('{');
	await page.getByRole('button', { name: 'Save schedule' }).click();
	await expect(page.getByText('this is not JSON')).toBeVisible();
	await expect(template).toBeFocused();
	await template.fill('{"spec":{"chat":{"model":"m"}}}');
	await page.getByRole('button', { name: 'Save schedule' }).click();
	await expect(page.getByRole('heading', { level: 1, name: 'nightly' })).toBeVisible();
	expect(orchestrator.calls[0]).toEqual({
		method: 'PUT',
		path: '/api/schedules/nightly',
		body: {
			cron: '@daily',
			timeZone: 'Europe/Oslo',
			overlap: 'SCHEDULE_OVERLAP_SKIP',
			paused: false,
			template: { spec: { chat: { model: 'm' } } }
		}
	});
});
