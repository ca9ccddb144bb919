import type { Deployment } from '@orchion/api';

/** The engines that a model can be deployed on, as people and the API call them. */
export const engines = [
	{
		label: 'Ollama',
		engine: 'ENGINE_OLLAMA',
		detail: 'GGUF models, on CPU or GPU',
		example: 'qwen3:0.6b'
	},
	{
		label: 'vLLM',
		engine: 'ENGINE_VLLM',
		detail: 'Hugging Face models, on GPUs',
		example: 'Qwen/Qwen3-0.6B'
	},
	{
		label: 'External',
		engine: 'ENGINE_EXTERNAL',
		detail: 'a model of an engine that already runs on a node',
		example: 'qwen3:0.6b'
	}
] as const;

/** Kinds of clients whose settings can be copied. */
export const clients = [
	{ label: 'OpenAI', detail: 'OPENAI_BASE_URL, OPENAI_API_KEY, OPENAI_MODEL' },
	{ label: 'Ollama', detail: 'OLLAMA_HOST, OLLAMA_MODEL' },
	{ label: 'Anthropic', detail: 'ANTHROPIC_BASE_URL, ANTHROPIC_API_KEY, ANTHROPIC_MODEL' },
	{ label: 'All of them', detail: 'one after the other' }
] as const;

export type ClientKind = (typeof clients)[number]['label'];

/**
 * The lines of an environment with which a client calls the model: for a shell
 * and for a .env file.
 * @param base where the orchestrator answers, without a slash at the end
 */
export function endpointSettings(base: string, model: string, kind: ClientKind): string {
	const openAI: [string, string][] = [
		['OPENAI_BASE_URL', `${base}/v1`],
		// Clients want one; the gateway does not.
		['OPENAI_API_KEY', 'none'],
		['OPENAI_MODEL', model]
	];
	const ollama: [string, string][] = [
		['OLLAMA_HOST', `${base}/ollama`],
		['OLLAMA_MODEL', model]
	];
	const anthropic: [string, string][] = [
		// Its clients add /v1 themselves.
		['ANTHROPIC_BASE_URL', base],
		['ANTHROPIC_API_KEY', 'none'],
		['ANTHROPIC_MODEL', model]
	];
	const lines = {
		OpenAI: openAI,
		Ollama: ollama,
		Anthropic: anthropic,
		'All of them': [...openAI, ...ollama, ...anthropic]
	}[kind];
	return lines.map(([name, value]) => `${name}=${quoted(value)}\n`).join('');
}

/** Quotes what a shell would take apart. */
function quoted(value: string): string {
	return /^[\w@%+=:,./-]+$/.test(value) ? value : `'${value.replaceAll("'", `'\\''`)}'`;
}

/** Says what is wrong with the name of a model; undefined: nothing. */
export function wrongModel(text: string): string | undefined {
	const name = text.trim();
	if (name === '') {
		return 'The model needs a name';
	}
	return name.length > 512 || /[\s\p{Cc}]/u.test(name)
		? 'A name has at most 512 characters, without spaces'
		: undefined;
}

/** The most replicas that a deployment may want. */
const maxReplicas = 64;

/** Says what is wrong with a number of replicas; undefined: nothing. */
export function wrongReplicas(text: string): string | undefined {
	return /^\d{1,2}$/.test(text.trim()) && Number(text) <= maxReplicas
		? undefined
		: `A whole number from 0 to ${maxReplicas}`;
}

/** What a person should know before setting a fixed number of replicas. */
export function scalePrompt({ name, spec }: Deployment): string {
	const question = `How many replicas of ${spec?.model || name} are to run? 0 keeps it deployed and stops it.`;
	if (spec?.everywhere) {
		return `${question} Now it runs once on every node that fits; a number ends that.`;
	}
	if (spec?.maxReplicas) {
		return `${question} Now they follow the demand, from ${spec.minReplicas ?? 0} to ${spec.maxReplicas}; a number ends that.`;
	}
	return question;
}
