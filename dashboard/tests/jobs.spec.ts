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

test('the log is followed, without escape sequences and without running what it says', async ({
	page,
	orchestrator
}) => {
	const running = orchestrator.jobs[0] ?? {};
	const id = running.id ?? '';
	const entry = (line: number, text: string, stream = 'stdout') => ({
		stream,
		attempt: 1,
		line: String(line),
		time: ago(1),
		text
	});
	orchestrator.appendLog(id, entry(1, '\u001b[1;32mgreen\u001b[0m text'));
	await page.goto(`/jobs/${id}`);
	const log = page.getByRole('log');
	await expect(log).toContainText('green text');
	await expect(log).not.toContainText('[1;32m');
	orchestrator.appendLog(
		id,
		entry(2, '<img src=x onerror="document.title=\'owned\'">'),
		entry(1, 'on stderr', 'stderr')
	);
	await expect(log).toContainText('<img src=x');
	await expect(log.locator('img')).toHaveCount(0);
	await expect(page.getByText('following')).toBeVisible();
	await page.getByLabel('Times').check();
	await expect(log).toContainText(/\d\d:\d\d:\d\d/);

	orchestrator.endLog(id);
	orchestrator.putJob(job(0, 'JOB_STATE_SUCCEEDED'));
	await expect(page.getByText('complete', { exact: true })).toBeVisible();
	const result = page.getByRole('region', { name: 'Result' });
	await expect(result).toContainText('exit code 0');
	await expect(result).toContainText('The sum is 42.');
	expect(await page.title()).not.toBe('owned');
});

test.describe('a log whose connection breaks', () => {
	test.use({ networkErrors: true });

	test('is read on without a line twice', async ({ page, orchestrator }) => {
		const id = orchestrator.jobs[0]?.id ?? '';
		const entry = (line: number) => ({
			stream: 'stdout',
			attempt: 1,
			line: String(line),
			time: ago(1),
			text: `line ${line}.`
		});
		orchestrator.appendLog(id, entry(1), entry(2));
		await page.goto(`/jobs/${id}`);
		await expect(page.getByRole('log')).toContainText('line 2.');
		await orchestrator.stop();
		await expect(page.getByText(/lost, trying again/)).toBeVisible();
		orchestrator.appendLog(id, entry(3));
		await orchestrator.start();
		await expect(page.getByRole('log')).toContainText('line 3.');
		await expect(page.getByRole('log').getByText('line 1.', { exact: true })).toHaveCount(1);
	});
});

test('a queued job says why it waits', async ({ page, orchestrator }) => {
	const queued = orchestrator.jobs.find((one) => one.state === 'JOB_STATE_QUEUED');
	orchestrator.explanation = {
		jobId: queued?.id,
		summary: 'No node fits.',
		nodes: [
			{
				nodeId: 'node-0001',
				hostname: 'borealis-1',
				fits: false,
				reasons: ['no container runtime', 'needs 2 GPUs, has 0'],
				score: 0
			},
			{ nodeId: 'node-0002', hostname: 'cygnus-2', fits: true, reasons: [], score: 0.75 }
		]
	};
	await page.goto(`/jobs/${queued?.id}`);
	const why = page.getByRole('region', { name: 'Why is this waiting?' });
	await expect(why).toContainText('No node fits.');
	await expect(why).toContainText('no container runtime; needs 2 GPUs, has 0');
	await expect(why).toContainText('fits, score 0.75');
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
		const toast = page.getByRole('alert').filter({ hasText: 'Could not retry the job' });
		await expect(toast).toContainText('the job is RUNNING');
		await toast.getByRole('button', { name: 'Dismiss' }).click();
		await expect(toast).toHaveCount(0);
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
	orchestrator
}) => {
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
	await page.getByRole('button', { name: 'Submit job' }).click();

	await expect(page.getByRole('heading', { name: 'made-here' })).toBeVisible();
	expect(orchestrator.calls).toHaveLength(1);
	expect(orchestrator.calls[0]?.body).toEqual({
		idempotencyKey: expect.stringMatching(/^dashboard-[0-9a-f]{32}$/),
		spec: {
			container: {
				image: 'docker.io/library/alpine:3.22',
				command: [],
				args: ['sh', '-c', 'echo "$GREETING"'],
				env: { GREETING: 'hello world' },
				models: ['qwen3:0.6b'],
				pullPolicy: 'PULL_POLICY_IF_NOT_PRESENT'
			},
			resources: { cpuMillis: '500', memoryBytes: '67108864', gpus: 0, gpuMemoryBytes: '0' }
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
