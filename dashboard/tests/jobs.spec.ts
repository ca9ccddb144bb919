import { ago, job, largeCluster } from './fixture/objects';
import { expect, test } from './fixture/test';

test('state filters are asked of the orchestrator and kept in the address', async ({ page }) => {
	await page.goto('/jobs');
	await expect(page.getByRole('row')).toHaveCount(25);
	await page.getByRole('button', { name: 'failed' }).click();
	await expect(page.getByRole('row')).toHaveCount(4);
	await expect(page).toHaveURL(/\?state=JOB_STATE_FAILED$/);
	await page.reload();
	await expect(page.getByRole('button', { name: 'failed' })).toHaveAttribute(
		'aria-pressed',
		'true'
	);
	await expect(page.getByRole('row')).toHaveCount(4);
	await page.getByLabel('Node').selectOption('node-0004');
	await expect(page).toHaveURL(/node=node-0004/);
	await expect(page.getByRole('row').nth(1)).toContainText('atlas-4');
});

test('a job leaves a filtered list when its state changes', async ({ page, orchestrator }) => {
	await page.goto('/jobs?state=JOB_STATE_RUNNING');
	await expect(page.getByRole('row')).toHaveCount(4);
	orchestrator.putJob(job(0, 'JOB_STATE_SUCCEEDED'));
	await expect(page.getByRole('row')).toHaveCount(3);
	orchestrator.putJob(job(1, 'JOB_STATE_RUNNING'));
	await expect(page.getByRole('row')).toHaveCount(4);
});

test('older jobs are read page by page', async ({ page, orchestrator }) => {
	orchestrator.load(largeCluster(500));
	await page.goto('/jobs');
	await expect(page.getByText('200+ shown')).toBeVisible();
	await page.getByRole('button', { name: 'Show older jobs' }).click();
	await expect(page.getByText('400+ shown')).toBeVisible();
	await page.getByRole('button', { name: 'Show older jobs' }).click();
	await expect(page.getByText('500 shown')).toBeVisible();
	await expect(page.getByRole('button', { name: 'Show older jobs' })).toHaveCount(0);
});

test('labels and text are filtered by, and kept in the address', async ({ page, orchestrator }) => {
	orchestrator.load(largeCluster(500));
	await page.goto('/jobs');
	const labels = page.getByRole('textbox', { name: 'Labels' });
	await labels.fill('=ops');
	await expect(page.getByText('write key=value, key!=value or key')).toBeVisible();
	await expect(labels).toHaveAttribute('aria-invalid', 'true');
	await labels.fill('team=ops');
	await labels.press('Enter');
	await expect(page).toHaveURL(/\?label=team%3Dops$/);
	await expect(page.getByText('200+ shown')).toBeVisible();
	await page.getByRole('button', { name: 'Show older jobs' }).click();
	await expect(page.getByText('250 shown')).toBeVisible();
	await page.getByRole('searchbox', { name: 'Filter jobs' }).fill('summarise');
	await expect(page).toHaveURL(/text=summarise$/);
	await expect(page.getByText('125 shown')).toBeVisible();
	// What comes in is filtered too.
	orchestrator.putJob(job(600, 'JOB_STATE_QUEUED', { createdAt: ago(0), labels: { team: 'x' } }));
	orchestrator.putJob(job(604, 'JOB_STATE_QUEUED', { createdAt: ago(0), labels: { team: 'ops' } }));
	await expect(page.getByText('126 shown')).toBeVisible();
	await page.reload();
	await expect(labels).toHaveValue('team=ops');
	await expect(page.getByRole('searchbox', { name: 'Filter jobs' })).toHaveValue('summarise');
	await expect(page.getByRole('row').nth(1)).toContainText('summarise-reports-604');
});

test('many jobs are cancelled at once, after a question that says how many', async ({
	page,
	orchestrator
}) => {
	orchestrator.load({
		nodes: [],
		deployments: [],
		jobs: Array.from({ length: 120 }, (_, index) =>
			job(index, index < 100 ? 'JOB_STATE_QUEUED' : 'JOB_STATE_SUCCEEDED')
		)
	});
	await page.goto('/jobs');
	await page.getByRole('checkbox', { name: 'Select all that are shown' }).check();
	const bar = page.getByRole('group', { name: 'Selected jobs' });
	await expect(bar).toContainText('120 jobs selected');
	await expect(bar.getByRole('button', { name: 'Retry 0' })).toBeDisabled();
	// One less.
	await page.getByRole('checkbox', { name: 'Select summarise-reports-0', exact: true }).uncheck();
	await bar.getByRole('button', { name: 'Cancel 99' }).click();
	const dialog = page.getByRole('dialog');
	await expect(dialog).toContainText('Cancel 99 jobs?');
	await dialog.getByRole('button', { name: 'Keep' }).click();
	expect(orchestrator.calls).toEqual([]);
	await bar.getByRole('button', { name: 'Cancel 99' }).click();
	await dialog.getByRole('button', { name: 'Cancel 99 jobs' }).click();
	await expect(page.getByText('99 jobs cancelled')).toBeVisible();
	await expect(bar).toHaveCount(0);
	expect(orchestrator.calls).toHaveLength(99);
	expect(orchestrator.jobs.filter((one) => one.state === 'JOB_STATE_QUEUED')).toHaveLength(1);
});

test('what leaves a filtered list by being retried is retried to the end', async ({
	page,
	orchestrator
}) => {
	orchestrator.load({
		nodes: [],
		deployments: [],
		jobs: Array.from({ length: 60 }, (_, index) => job(index, 'JOB_STATE_FAILED'))
	});
	await page.goto('/jobs?state=JOB_STATE_FAILED');
	await page.getByRole('checkbox', { name: 'Select all that are shown' }).check();
	await page.getByRole('button', { name: 'Retry 60' }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Retry 60 jobs' }).click();
	await expect(page.getByText('60 jobs queued again')).toBeVisible();
	await expect(page.getByText('No job matches')).toBeVisible();
	expect(orchestrator.calls).toHaveLength(60);
});

test('cancelling asks first and sends a reason', async ({ page, orchestrator }) => {
	const id = orchestrator.jobs[0]?.id ?? '';
	await page.goto(`/jobs/${id}`);
	await page.getByRole('button', { name: 'Cancel', exact: true }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Cancel job' }).click();
	await expect(page.locator('#main header').getByText('cancelled')).toBeVisible();
	expect(orchestrator.calls).toEqual([
		{
			method: 'POST',
			path: `/api/jobs/${id}:cancel`,
			body: { reason: 'cancelled in the dashboard' }
		}
	]);
	await page.getByRole('button', { name: 'Retry' }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Leave it' }).click();
	expect(orchestrator.calls).toHaveLength(1);
	await page.getByRole('button', { name: 'Retry' }).click();
	await page.getByRole('dialog').getByRole('button', { name: 'Retry job' }).click();
	await expect(page.locator('#main header').getByText('queued')).toBeVisible();
});

test.describe('an action that is refused', () => {
	test.use({ networkErrors: true });

	test('shows the API’s message in a toast, which can be dismissed', async ({
		page,
		orchestrator
	}) => {
		const failed = orchestrator.jobs.find((one) => one.state === 'JOB_STATE_FAILED');
		orchestrator.failures = [
			{
				prefix: `POST /api/jobs/${failed?.id}:retry`,
				status: 400,
				body: { code: 9, message: 'the job is RUNNING', details: [] }
			}
		];
		await page.goto(`/jobs/${failed?.id}`);
		await page.getByRole('button', { name: 'Retry' }).click();
		await page.getByRole('dialog').getByRole('button', { name: 'Retry job' }).click();
		const toast = page.getByRole('alert').filter({ hasText: 'Could not retry the job' });
		await expect(toast).toContainText('the job is RUNNING');
		await toast.getByRole('button', { name: 'Dismiss' }).click();
		await expect(toast).toHaveCount(0);
	});

	test('is counted among many, and the others are done', async ({ page, orchestrator }) => {
		const failed = orchestrator.jobs.filter((one) => one.state === 'JOB_STATE_FAILED');
		orchestrator.failures = [
			{
				prefix: `POST /api/jobs/${failed[0]?.id}:retry`,
				status: 400,
				body: { code: 9, message: 'the job is RUNNING', details: [] }
			}
		];
		await page.goto('/jobs?state=JOB_STATE_FAILED');
		await page.getByRole('checkbox', { name: 'Select all that are shown' }).check();
		await page.getByRole('button', { name: 'Retry 3' }).click();
		await page.getByRole('dialog').getByRole('button', { name: 'Retry 3 jobs' }).click();
		const toast = page
			.getByRole('alert')
			.filter({ hasText: '1 job of 3 could not be queued again' });
		await expect(toast).toContainText('the job is RUNNING');
		expect(orchestrator.calls).toHaveLength(2);
		// What was refused is still selected.
		await expect(page.getByRole('group', { name: 'Selected jobs' })).toContainText(
			'1 job selected'
		);
	});

	test('marks the field of a form that the API names', async ({ page, orchestrator }) => {
		orchestrator.failures = [
			{
				prefix: 'POST /api/jobs',
				status: 400,
				body: {
					code: 3,
					message: 'spec.container.image "??" is no image reference',
					details: [
						{
							'@type': 'type.googleapis.com/google.rpc.BadRequest',
							fieldViolations: [
								{ field: 'spec.container.image', description: 'is no image reference' }
							]
						}
					]
				}
			}
		];
		await page.goto('/jobs/new');
		const image = page.getByRole('textbox', { name: 'Image' });
		await image.fill('??');
		await page.getByRole('button', { name: 'Submit job' }).click();
		await expect(image).toHaveAttribute('aria-invalid', 'true');
		await expect(image).toBeFocused();
		await expect(page.getByText('spec.container.image "??" is no image reference')).toBeVisible();
	});
});

test('the form checks what is typed, then submits it and opens the job', async ({
	page,
	context,
	orchestrator
}) => {
	await context.grantPermissions(['clipboard-read', 'clipboard-write']);
	await page.goto('/jobs/new');
	await page.getByRole('button', { name: 'Submit job' }).click();
	await expect(page.getByText('name the image to run')).toBeVisible();
	await expect(page.getByRole('textbox', { name: 'Image' })).toBeFocused();

	await page.getByRole('textbox', { name: 'Image' }).fill('docker.io/library/alpine:3.22');
	await page.getByLabel('Arguments').fill(`sh -c 'echo "$GREETING"'`);
	await page.getByLabel('Environment').fill('GREETING=hello world');
	await page.getByLabel('Models it may call').fill('qwen3:0.6b');
	await page.getByLabel('Cores').fill('0.5');
	await page.getByLabel('Memory', { exact: true }).fill('much');
	await page.getByRole('button', { name: 'Submit job' }).click();
	await expect(page.getByText('use a size such as 512MiB or 2GiB')).toBeVisible();
	await page.getByLabel('Memory', { exact: true }).fill('64MiB');
	await page.getByLabel('Queue', { exact: true }).fill('-night');
	await page.getByText('More', { exact: true }).click();
	await page.getByLabel('First backoff').fill('2d');
	await page.getByRole('button', { name: 'Submit job' }).click();
	await expect(page.getByText('use 1 to 63 of A-Z a-z')).toBeVisible();
	await expect(page.getByText('use a time up to 1 d 0 h')).toBeVisible();
	await page.getByLabel('Queue', { exact: true }).fill('night');
	await page.getByLabel('Attempts', { exact: true }).fill('3');
	await page.getByLabel('First backoff').fill('10s');

	await page.getByText('As a file or a request').click();
	await page.getByRole('button', { name: 'Copy file' }).click();
	const file = await page.evaluate(() => navigator.clipboard.readText());
	expect(file).toContain('      - "echo \\"$GREETING\\""\n');
	expect(file).toContain('  queue: night\n');
	await page.getByRole('button', { name: 'Submit job' }).click();

	await expect(page.getByRole('heading', { name: 'made-here' })).toBeVisible();
	expect(orchestrator.calls).toHaveLength(1);
	expect(orchestrator.calls[0]?.body).toEqual({
		idempotencyKey: expect.stringMatching(/^dashboard-[0-9a-f]{32}$/),
		spec: {
			container: {
				image: 'docker.io/library/alpine:3.22',
				args: ['sh', '-c', 'echo "$GREETING"'],
				env: { GREETING: 'hello world' },
				models: ['qwen3:0.6b'],
				pullPolicy: 'PULL_POLICY_IF_NOT_PRESENT'
			},
			resources: { cpuMillis: '500', memoryBytes: '67108864' },
			queue: 'night',
			retry: { maxAttempts: 3, initialBackoff: '10s' }
		}
	});
});

test('the form takes files, volumes, jobs to wait for and a count', async ({
	page,
	orchestrator
}) => {
	const before = orchestrator.jobs[2];
	await page.goto('/jobs/new');
	await page.getByRole('textbox', { name: 'Image' }).fill('alpine');
	await page.getByText('More', { exact: true }).click();
	await page.getByRole('button', { name: 'Wait for a job' }).click();
	const waits = page.getByRole('combobox', { name: 'Job 1 to wait for' });
	await waits.fill('no-such-job');
	await page.getByRole('button', { name: 'Submit job' }).click();
	await expect(page.getByText('no job is called “no-such-job”')).toBeVisible();
	await waits.fill(before?.name ?? '');
	await waits.press('Tab');
	await expect(waits).toHaveValue(before?.id ?? '');
	await page.getByLabel('How job 1 must end').selectOption('has ended');
	await page.getByLabel('Not before').fill('2026-12-24T18:30');
	await page.getByLabel('How many', { exact: true }).fill('100');
	await page.getByLabel('Volumes').fill('cache:/cache');
	await page.getByLabel('Folders in memory').fill('/tmp:1MiB');
	await page.getByLabel('Stop grace').fill('30s');
	await page.getByRole('button', { name: 'Add a file' }).click();
	await page.getByLabel('Path in the container').fill('/work/a.txt');
	await page.getByLabel('What is in it').fill('hi');
	await page.getByRole('button', { name: 'Add a file' }).click();
	await page
		.getByLabel('Choose a file of this machine for file 2')
		.setInputFiles({ name: 'b.bin', mimeType: '', buffer: Buffer.from([0, 255]) });
	await expect(page.getByText('b.bin, 2 B')).toBeVisible();
	await expect(page.getByLabel('Path in the container').nth(1)).toHaveValue('/work/b.bin');
	await page.getByRole('button', { name: 'Submit job' }).click();

	await expect(page.getByRole('heading', { name: 'made-here' })).toBeVisible();
	expect(orchestrator.calls[0]?.body).toEqual({
		idempotencyKey: expect.any(String),
		count: 100,
		spec: {
			container: {
				image: 'alpine',
				pullPolicy: 'PULL_POLICY_IF_NOT_PRESENT',
				volumes: [{ name: 'cache', path: '/cache' }],
				tmpfs: [{ path: '/tmp', sizeBytes: '1048576' }],
				stopGrace: '30s',
				files: [
					{ path: '/work/a.txt', content: 'aGk=' },
					{ path: '/work/b.bin', content: 'AP8=' }
				]
			},
			after: [{ jobId: before?.id, on: 'JOB_CONDITION_END' }],
			startAfter: '2026-12-24T18:30:00.000Z'
		}
	});
});

test.describe('a job that is not there', () => {
	test.use({ networkErrors: true });

	test('says so', async ({ page }) => {
		await page.goto('/jobs/nothing');
		await expect(page.getByText('There is no job “nothing”')).toBeVisible();
		await expect(page.getByText('job "nothing" is not known')).toBeVisible();
	});
});
