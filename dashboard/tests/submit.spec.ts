// The form of a job.
import { node } from './fixture/objects';
import { expect, test } from './fixture/test';

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

test('a program of a node, and what is said of the node that takes it', async ({
	page,
	orchestrator
}) => {
	orchestrator.putNode(
		node(1, {
			capabilities: {
				...node(1).capabilities,
				processes: [{ name: 'ffmpeg', path: '/usr/bin/ffmpeg' }]
			}
		})
	);
	await page.goto('/jobs/new');
	await page.getByRole('radio', { name: 'a program of the node' }).check();
	await expect(page.getByRole('textbox', { name: 'Image' })).toHaveCount(0);
	await page.getByRole('button', { name: 'Submit job' }).click();
	const program = page.getByRole('combobox', { name: 'Program' });
	await expect(program).toBeFocused();
	await expect(page.getByText('name the program, as nodes’ policies do')).toBeVisible();
	await expect(page.locator('#known-programs option')).toHaveAttribute('value', 'ffmpeg');
	await program.fill('ffmpeg');
	await page.getByLabel('Arguments').fill('-version');
	await page.getByLabel('Its room may be taken').check();
	await page.getByText('More', { exact: true }).click();
	await expect(page.getByLabel('Volumes')).toHaveCount(0);
	await page.getByLabel('Working directory').fill('/srv');
	await page.getByLabel('Of the nodes that fit').selectOption('the emptiest: spread');
	await page.getByLabel('Tolerated taints').fill('spot');
	await page.getByLabel('Better and worse nodes').fill('label.disk=ssd');
	await page.getByLabel('Never beside jobs with').fill('app!=db');
	await page.getByRole('button', { name: 'Submit job' }).click();
	await expect(page.getByText('label.disk=ssd: write POINTS:CONSTRAINT')).toBeVisible();
	await expect(page.getByText('this only says what jobs must not have')).toBeVisible();
	await page.getByLabel('Better and worse nodes').fill('40:label.disk=ssd');
	await page.getByLabel('Never beside jobs with').fill('app=db');
	await page.getByRole('button', { name: 'Submit job' }).click();

	await expect(page.getByRole('heading', { name: 'made-here' })).toBeVisible();
	expect(orchestrator.calls[0]?.body).toEqual({
		idempotencyKey: expect.any(String),
		spec: {
			process: { command: 'ffmpeg', args: ['-version'], workingDir: '/srv' },
			tolerations: ['spot'],
			placement: 'PLACEMENT_SPREAD',
			affinities: [{ constraint: 'label.disk=ssd', weight: 40 }],
			avoidJobs: 'app=db',
			preemptible: true
		}
	});
});

test.describe('what is refused', () => {
	test.use({ networkErrors: true });

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

	test('unfolds what the API names', async ({ page, orchestrator }) => {
		orchestrator.failures = [
			{
				prefix: 'POST /api/jobs',
				status: 400,
				body: {
					code: 3,
					message: 'spec.affinities[0].constraint: has no operator',
					details: []
				}
			}
		];
		await page.goto('/jobs/new');
		await page.getByRole('textbox', { name: 'Image' }).fill('alpine');
		await page.getByRole('button', { name: 'Submit job' }).click();
		await expect(page.getByText('spec.affinities[0].constraint: has no operator')).toBeVisible();
		await expect(page.getByLabel('Better and worse nodes')).toBeFocused();
	});
});
