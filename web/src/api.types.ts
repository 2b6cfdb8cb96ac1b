/* Written by `sightglass serve --api ts` from src/serve/routes.def and types.def; a test holds this file to it. */

/** What every failure looks like, as in OpenAI's interface. */
export type ErrorReply = {
    error: {
        message: string;
        type: string;
        param: string | null;
        code: string | null;
    };
};

/** That the server is there. */
export type Health = {
    status: 'ok';
    version: string;
    uptime: number;
};

/** Where numbers were computed. */
export type Origin = {
    where: 'server';
    backend?: string;
    model?: string;
    seed?: number;
    seconds?: number;
    [key: string]: unknown;
};

/** interrupted: its server ended before it did. */
export type JobState = 'queued' | 'running' | 'done' | 'failed' | 'stopped' | 'interrupted';

/** Work that takes longer than an answer may. Times are seconds since 1970; total 0 means not known, eta is in seconds. */
export type Job = {
    id: string;
    kind: string;
    spec: unknown;
    state: JobState;
    done: number;
    total: number;
    phase: string;
    eta: number | null;
    error: string | null;
    created: number;
    started: number | null;
    ended: number | null;
    runs: number;
    resumable: boolean;
    result?: unknown;
    origin: {
        where: 'server';
        spec_hash: string;
        code_version: string;
        backend: string | null;
        seed: number | null;
    };
};

/** A job to be done; GET /api/v1/jobs says what each kind's spec is. */
export type NewJob = {
    kind: string;
    spec: unknown;
};

/** A kind of jobs. */
export type JobKind = {
    name: string;
    what: string;
    spec: string;
    resumable: boolean;
};

/** Jobs and their kinds. */
export type Jobs = {
    jobs: Job[];
    kinds: JobKind[];
};

/** The state of a view, to be kept. */
export type NewSnapshot = {
    name?: string;
    view: unknown;
};

/** A view that was kept; hash is SHA-256 of its state. */
export type Snapshot = {
    id: string;
    name: string;
    hash: string;
    created: number;
    view: unknown;
};

/** What views were kept. */
export type Snapshots = {
    snapshots: {
        id: string;
        name: string;
        hash: string;
        created: number;
    }[];
};

/** A number, and what it had to be. */
export type Measured = {
    value: number | null;
    criterion: string;
    holds: boolean;
};

/** A claim of a study's committed report, beside its control. */
export type StudyClaim = {
    id: string;
    text: string;
    source: string;
    paper_value: number | null;
    value: number | null;
    criterion: string;
    holds: boolean;
    control: {
        text: string;
        value: number | null;
        criterion: string;
        holds: boolean;
    };
};

/** A paper's question, and what its full run found; null where no report was built in. */
export type Study = {
    name: string;
    question: string;
    budget: string | null;
    commit: string | null;
    cpu: string | null;
    seconds: number | null;
    holds: boolean | null;
    claims: StudyClaim[];
};

/** The studies. */
export type Studies = {
    studies: Study[];
};

/** What a method takes: the id of a model or job:ID of one that a job trained; job:ID/NAME, a file that a job wrote, or job:ID, its folder; a text. */
export type MethodInput = {
    name: string;
    kind: 'model' | 'file' | 'text';
    least: number;
    most: number;
    help: string;
};

/** An option of a method with its default; a path is a file as MethodInput has it. */
export type MethodOption = {
    name: string;
    kind: 'whole' | 'real' | 'choice' | 'flag' | 'text' | 'path';
    standard: string;
    low: number | null;
    high: number | null;
    choices: string[];
    help: string;
};

/** A question that can be put to a model; artefact says what it writes. */
export type Method = {
    name: string;
    action: string | null;
    help: string;
    about: string;
    artefact: string | null;
    inputs: MethodInput[];
    options: MethodOption[];
};

/** The methods; actions of one name together. */
export type Methods = {
    methods: Method[];
};

/** What is asked of a method; out is the name of what it writes, a plain one. */
export type MethodAsk = {
    action?: string;
    inputs?: string[];
    settings?: Record<string, string | number | boolean>;
    seed?: number;
    out?: string;
};

/** A number that a method found, beside its control. */
export type Finding = {
    id: string;
    where: string | null;
    text: string;
    value: number | null;
    interval: (number | null)[];
    n: number;
    criterion: string | null;
    holds: boolean | null;
    control: {
        text: string;
        value: number | null;
        interval: (number | null)[];
    };
};

/** What a method found; figures are as in a study's report. */
export type MethodResult = {
    manifest: {
        method: string | null;
        build: string | null;
        model: string | null;
        model_hash: string | null;
        data: string | null;
        data_hash: string | null;
        options: string | null;
        backend: string | null;
        threads: number;
        seed: number;
        seconds: number | null;
    };
    findings: Finding[];
    tables: {
        id: string | null;
        title: string;
        control: string;
        columns: (string | null)[];
        rows: (string | number | null)[][];
    }[];
    figures: unknown[];
    files: {
        path: string;
        what: string | null;
    }[];
    notes: string[];
};

/** Files of a job's folder and of the folders in it. */
export type JobFiles = {
    files: {
        name: string;
        bytes: number;
    }[];
};

/** How far a value is from its reference: of its numbers, and of its vectors relative to the reference's length. `bad` numbers are not finite. */
export type CertificateRow = {
    site: string;
    n: number;
    max_abs: number | null;
    mean_abs: number | null;
    max_rel: number | null;
    mean_rel: number | null;
    at_prompt: number;
    at_position: number;
    bad: number;
    holds: boolean;
};

/** One backend and number format. `next` is about the next token's distribution: shares of positions with the same likeliest token, of all and of those where the reference leads by more than `lead` nats; total variation; KL in nats. */
export type CertificateRun = {
    backend: string;
    compute: string;
    stored: string;
    holds: boolean;
    first_bad: string | null;
    note: string | null;
    seconds: number | null;
    tolerance: {
        relative: number;
        variation: number;
        lead: number;
        why: string;
    };
    next: {
        positions: number;
        top1: number | null;
        clear: number;
        top1_clear: number | null;
        tv_mean: number | null;
        tv_max: number | null;
        kl_mean: number | null;
        kl_max: number | null;
        holds: boolean;
    } | null;
    rows: CertificateRow[];
};

/** What `sightglass verify` found of a model, as it was kept. It is stale when the model's files are others since. */
export type Certificate = {
    format: string;
    version: number;
    program: string;
    date: string;
    cpu: string;
    model: string;
    hash: string;
    fingerprint: string;
    against: 'golden' | 'self' | 'model';
    reference: string;
    reference_hash: string | null;
    prompts: number;
    positions: number;
    holds: boolean;
    meaning: string;
    stale: boolean;
    path: string;
    runs: CertificateRun[];
};

/** A model: where it came from and its sizes. `prompt` says what it reads: text, numbers, images, or squares of Othello; `hash` is that of its weights, once it is open; `error` says why it could not be opened; `loras` and `autoencoders` are what it was opened with (docs/adapters.md), in the order of lora.0, lora.1 ... */
export type ModelInfo = {
    id: string;
    open: boolean;
    from: string;
    family?: string;
    architecture?: string;
    prompt?: string;
    layers?: number;
    width?: number;
    heads?: number;
    kv_heads?: number;
    head_width?: number;
    hidden_width?: number;
    vocabulary?: number;
    context?: number;
    parameters?: number;
    bytes?: number;
    dtype?: string;
    tied?: boolean;
    hash?: string;
    tokenizer?: boolean;
    bos?: number | null;
    eos?: number[];
    warnings?: string[];
    error?: string;
    certificate?: Certificate;
    certificate_error?: string;
    loras?: {
        name: string;
        modules: number;
        rank: number;
        strength: number;
    }[];
    autoencoders?: {
        name: string;
        hook: string;
        kind: string;
        features: number;
        labelled: boolean;
        use: 'look' | 'keep' | 'replace';
    }[];
};

/** The models that were named when the server was started. */
export type ModelInfos = {
    models: ModelInfo[];
};

/** Every named value: axes are b row, t position, s key position, h head, d any other; kind is the operation that computes it, or variable or input. */
export type ModelNames = {
    model: string;
    names: {
        name: string;
        dtype: string;
        shape: (number | string)[];
        axes: string;
        kind: string;
    }[];
};

/** A text, and whether what the tokenizer adds (such as a first <s>) is to be added (true). */
export type TokenizeRequest = {
    text: string;
    special?: boolean;
};

/** Tokens and what each reads as. */
export type TokenizeReply = {
    model: string;
    tokens: number[];
    texts: string[];
};

/** Tokens. */
export type DetokenizeRequest = {
    tokens: number[];
};

/** The text of tokens. */
export type DetokenizeReply = {
    model: string;
    text: string;
};

/** Whole numbers and [first, last] pairs, both included. */
export type Spans = number | (number | number[])[];

/** An intervention: what is put in the place of the value at `site`. A value is numbers, or what the site is in another run; include/sightglass/edit.h has the formula of each op. */
export type Edit = {
    site: string;
    op: 'set' | 'add' | 'scale' | 'ablate' | 'project' | 'clamp' | 'patch' | 'mask';
    value?: number | unknown[] | {
        run: {
            text?: string;
            tokens?: number[];
        };
        position?: number;
    };
    strength?: number;
    low?: number;
    high?: number;
    heads?: Spans;
    features?: Spans;
    positions?: Spans;
    rows?: Spans;
    steps?: Spans;
    keys?: Spans;
    when?: {
        site: string;
        index?: number;
        direction?: number[];
        above?: number;
        below?: number;
    };
};

/** Names or patterns of values; positions count from the prompt's end where they are below 0. */
export type Fetch = string | string[] | {
    names: string | string[];
    positions?: (number | number[])[];
    as?: 'numbers' | 'base64';
};

/** A value: axes t position, s key position, h head, d any other; numbers row by row, or as little-endian bytes in base64. */
export type Fetched = {
    name: string;
    axes: string;
    dtype: string;
    shape: number[];
    positions: number[];
    base64?: string;
    numbers?: (number | null)[];
};

/** A model. */
export type OpenAIModel = {
    id: string;
    object: 'model';
    created: number;
    owned_by: string;
};

/** Models. */
export type OpenAIModels = {
    object: 'list';
    data: OpenAIModel[];
};

/** Tokens read and written. */
export type Usage = {
    prompt_tokens: number;
    completion_tokens: number;
    total_tokens: number;
};

/** A prompt to be written on from: text, tokens, or several of either. `edits` are in place while it is read and written, `fetch` names values that come back beside the text. temperature 1, max_tokens 16 unless told. */
export type CompletionRequest = {
    model: string;
    prompt?: string | string[] | number[] | number[][] | null;
    max_tokens?: number | null;
    temperature?: number | null;
    top_p?: number | null;
    top_k?: number | null;
    min_p?: number | null;
    repetition_penalty?: number | null;
    n?: number | null;
    best_of?: number | null;
    stop?: string | string[] | null;
    seed?: number | null;
    logprobs?: number | null;
    echo?: boolean | null;
    stream?: boolean | null;
    stream_options?: {
        include_usage?: boolean;
        [key: string]: unknown;
    } | null;
    presence_penalty?: number | null;
    frequency_penalty?: number | null;
    logit_bias?: Record<string, number> | null;
    edits?: Edit[] | null;
    fetch?: Fetch | null;
    suffix?: unknown;
    user?: unknown;
};

/** What was written. Log-probabilities are natural logarithms of the model's own distribution, before temperature, bias and penalties; text_offset counts bytes. Streamed, each event has a piece of one choice. */
export type Completion = {
    id: string;
    object: 'text_completion';
    created: number;
    model: string;
    system_fingerprint: string;
    choices: {
        index: number;
        text: string;
        tokens?: number[];
        logprobs: {
            tokens: string[];
            token_logprobs: (number | null)[];
            top_logprobs: (Record<string, number> | null)[];
            text_offset: number[];
        } | null;
        finish_reason: 'stop' | 'length';
        fetched?: Fetched[];
    }[];
    usage: Usage;
    origin: Origin;
};

/** Messages to be answered; the model sees them as a transcript. max_tokens 1024 unless told. */
export type ChatRequest = {
    model: string;
    messages: {
        role: string;
        content: string | {
            type: string;
            [key: string]: unknown;
        }[] | null;
        name?: unknown;
        [key: string]: unknown;
    }[];
    max_tokens?: number | null;
    max_completion_tokens?: number | null;
    temperature?: number | null;
    top_p?: number | null;
    top_k?: number | null;
    min_p?: number | null;
    repetition_penalty?: number | null;
    n?: number | null;
    stop?: string | string[] | null;
    seed?: number | null;
    logprobs?: boolean | null;
    top_logprobs?: number | null;
    stream?: boolean | null;
    stream_options?: {
        include_usage?: boolean;
        [key: string]: unknown;
    } | null;
    presence_penalty?: number | null;
    frequency_penalty?: number | null;
    logit_bias?: Record<string, number> | null;
    edits?: Edit[] | null;
    fetch?: Fetch | null;
    tools?: unknown;
    tool_choice?: unknown;
    functions?: unknown;
    function_call?: unknown;
    response_format?: unknown;
    audio?: unknown;
    modalities?: unknown;
    prediction?: unknown;
    web_search_options?: unknown;
    reasoning_effort?: unknown;
    verbosity?: unknown;
    parallel_tool_calls?: unknown;
    user?: unknown;
    store?: unknown;
    metadata?: unknown;
    service_tier?: unknown;
    safety_identifier?: unknown;
    prompt_cache_key?: unknown;
};

/** Inputs, and the value whose mean is wanted (ln_final.hook_normalized). */
export type EmbeddingRequest = {
    model: string;
    input: string | string[] | number[] | number[][];
    site?: string | null;
    encoding_format?: 'float' | 'base64' | null;
    edits?: Edit[] | null;
    user?: unknown;
};

/** A vector for each input. */
export type Embeddings = {
    object: 'list';
    data: {
        object: 'embedding';
        index: number;
        embedding: (number | null)[] | string;
    }[];
    model: string;
    usage: {
        prompt_tokens: number;
        total_tokens: number;
    };
    origin: Origin;
};

/** A token with its log-probability and the likeliest beside it. */
export type LogprobToken = {
    token: string;
    logprob: number;
    bytes: number[] | null;
    top_logprobs?: {
        token: string;
        logprob: number;
        bytes: number[] | null;
    }[];
};

/** The answer. Streamed, each event has a piece of one choice. */
export type ChatCompletion = {
    id: string;
    object: 'chat.completion';
    created: number;
    model: string;
    system_fingerprint: string;
    choices: {
        index: number;
        message: {
            role: 'assistant';
            content: string;
            refusal: null;
        };
        logprobs: {
            content: LogprobToken[];
            refusal: null;
        } | null;
        finish_reason: 'stop' | 'length';
        fetched?: Fetched[];
    }[];
    usage: Usage;
    origin: Origin;
};

/** The models. */
export type OllamaTags = {
    models: {
        name: string;
        model: string;
        modified_at: string;
        size: number;
        digest: string;
        details: {
            format: string;
            family: string;
            families: string[];
            parameter_size: string;
            quantization_level: string;
        };
    }[];
};

/** The version of this server. */
export type OllamaVersion = {
    version: string;
};

/** How it is sampled; temperature 0.8, top_k 40, top_p 0.9, num_predict 128 unless told. Options that only say how a machine is to be used are let through. */
export type OllamaOptions = {
    temperature?: number;
    top_k?: number;
    top_p?: number;
    min_p?: number;
    repeat_penalty?: number;
    seed?: number;
    num_predict?: number;
    stop?: string | string[];
    presence_penalty?: number;
    frequency_penalty?: number;
    [key: string]: unknown;
};

/** A text to be written on from. */
export type OllamaGenerate = {
    model: string;
    prompt?: string;
    system?: string | null;
    stream?: boolean | null;
    raw?: boolean | null;
    options?: OllamaOptions | null;
    edits?: Edit[] | null;
    keep_alive?: unknown;
    suffix?: unknown;
    images?: unknown;
    format?: unknown;
    context?: unknown;
    template?: unknown;
    think?: unknown;
};

/** Messages to be answered. */
export type OllamaChat = {
    model: string;
    messages?: {
        role: string;
        content: string;
        [key: string]: unknown;
    }[];
    stream?: boolean | null;
    options?: OllamaOptions | null;
    edits?: Edit[] | null;
    keep_alive?: unknown;
    tools?: unknown;
    format?: unknown;
    think?: unknown;
};

/** A piece of the answer, or the whole where it does not stream; durations in nanoseconds. */
export type OllamaReply = {
    model: string;
    created_at: string;
    response?: string;
    message?: {
        role: 'assistant';
        content: string;
    };
    done: boolean;
    done_reason?: string;
    total_duration?: number;
    load_duration?: number;
    prompt_eval_count?: number;
    prompt_eval_duration?: number;
    eval_count?: number;
    eval_duration?: number;
};

/** What a model reads: text, or squares such as f5 where it plays Othello, or the numbers of tokens. */
export type Prompt = {
    text?: string;
    tokens?: number[];
};

/** A token and what it reads as behind others. */
export type Token = {
    id: number;
    text: string;
};

/** A prompt to be run, unedited and with edits; at which positions predictions are told (all that can be at once), how many of the likeliest tokens (5), and tokens that are told wherever they stand. */
export type InspectRequest = {
    prompt: Prompt;
    edits?: {
        [key: string]: unknown;
    }[];
    first?: number;
    n?: number;
    top?: number;
    track?: number[];
};

/** Predictions of one run: the likeliest as [n,k], and per position the loss (nats) and rank of the token that follows and the entropy (nats); tracked tokens as [n,tracked]. */
export type InspectRow = {
    ids: number[];
    p: (number | null)[];
    logits: (number | null)[];
    loss: (number | null)[];
    rank: (number | null)[];
    entropy: (number | null)[];
    tracked_p: (number | null)[];
    tracked_logits: (number | null)[];
};

/** What a run predicts. `run` and `edited` name the two runs; rows are unedited, edited; divergence is the KL divergence of the edited from the unedited in nats; texts are those of tokens by number. */
export type InspectRun = {
    origin: Origin;
    run: string;
    edited: string | null;
    tokens: Token[];
    first: number;
    n: number;
    k: number;
    rows: InspectRow[];
    divergence: (number | null)[] | null;
    texts: Record<string, string>;
};

/** Statistics of the numbers that are finite; bins are even from least to greatest. */
export type InspectStats = {
    count: number;
    finite: number;
    least: number | null;
    greatest: number | null;
    mean: number | null;
    deviation: number | null;
    norm: number | null;
    bins: number[];
};

/** A value of a run; its numbers where they are at most 4096. */
export type InspectValue = {
    origin: Origin;
    site: string;
    axes: string;
    shape: number[];
    stats: InspectStats;
    numbers: (number | null)[] | null;
};

/** The lens at one layer: the likeliest as [n,k], and of the wanted tokens p, logit and rank. */
export type InspectLensRow = {
    ids: number[];
    p: (number | null)[];
    wanted_p: (number | null)[];
    wanted_logits: (number | null)[];
    rank: (number | null)[];
    entropy: (number | null)[];
};

/** The logit lens before block 0 and after each block. */
export type InspectLens = {
    origin: Origin;
    first: number;
    n: number;
    k: number;
    wanted: number[];
    rows: InspectLensRow[];
    texts: Record<string, string>;
};

/** Which values of `source` are put into the run of `base`, and what is then looked at. */
export type PatchRequest = {
    base: Prompt;
    source: Prompt;
    site: 'hook_resid_pre' | 'hook_attn_out' | 'hook_mlp_out' | 'attn.hook_z';
    layer: number;
    metric: {
        kind: 'logit' | 'difference' | 'p' | 'logprob';
        token: number;
        other?: number;
        position?: number;
    };
};

/** Per position (and head, [positions,heads]) the metric with that place patched, and its part of the way from base to source. */
export type PatchLayer = {
    origin: Origin;
    site: string;
    layer: number;
    positions: number;
    heads: number;
    base: number | null;
    source: number | null;
    effect: (number | null)[];
    metric: (number | null)[];
    base_tokens: Token[];
    source_tokens: Token[];
};

/** What a model is to believe of squares after so many moves, and by how much it is moved after which layers. Mine are the discs of whoever moves next; strength 1 makes it as sure as it was of what it believed, 0 undecided. */
export type BoardEdit = {
    ply: number;
    squares: Record<string, 'empty' | 'black' | 'white' | 'mine' | 'yours'>;
    first?: number;
    last?: number;
    strength?: number;
};

/** A game as moves (f5d6c3), the move after which one looks (the last), edits, how many random pushes they are compared with (8; fewer where each would take long), and the seed of the move that is drawn. */
export type BoardRequest = {
    moves: string;
    ply?: number;
    edits?: BoardEdit[];
    controls?: number;
    attention?: boolean;
    seed?: number;
};

/** The board that a probe reads after a layer, row by row (X black, O white), with its shares of each square, held against the true board, or the edited one where it is edited. */
export type BoardLayer = {
    layer: number;
    board: string;
    empty_mine_yours: number[][];
    wrong: string[];
    n_right: number;
    n_discs: number;
    n_discs_right: number;
};

/** Probabilities of the next move for each square, their sum over legal ones, and how many of the n_legal likeliest are illegal. */
export type BoardBets = {
    next: number[];
    none: number;
    legal_mass: number;
    n_legal: number;
    n_wrong: number;
    first: string;
    first_legal: boolean;
};

/** A model at a position: bets, readings, and what each head looks at from the last move, in thousandths, as [layer][head][move]. */
export type BoardThought = {
    next: number[];
    none: number;
    legal_mass: number;
    n_legal: number;
    n_wrong: number;
    first: string;
    first_legal: boolean;
    layers: BoardLayer[];
    attention?: number[][][];
};

/** A position: the game, the true board, and what the model makes of it before and after edits. `wish` is the board that the edits of this position stand for; `unedited` the bets without edits judged on it; `controls` the means after random pushes; `lengths` how far each edit moves the residual stream; `reply` what the model would play. */
export type BoardReply = {
    origin: Origin;
    size: number;
    plies: {
        square: string;
        by: 'black' | 'white';
        turned: number;
        pass_after: boolean;
    }[];
    ply: number;
    board: string;
    to_move: 'black' | 'white' | 'nobody';
    mine: 'black' | 'white';
    discs: number[];
    legal: string[];
    wish: string;
    legal_wish: string[];
    before: BoardThought | null;
    after: BoardThought | null;
    unedited: BoardBets | null;
    controls: {
        n: number;
        legal_mass: number;
        n_wrong: number;
        next: number[];
    } | null;
    lengths: number[];
    reply: {
        best: string;
        drawn: string;
        first: string;
        first_legal: boolean;
        seed: number;
    } | null;
};

/** A position with edits, and how a disc is turned over in the model: as an edit would. */
export type BoardSaliencyRequest = {
    moves: string;
    ply?: number;
    edits?: BoardEdit[];
    first?: number;
    last?: number;
    strength?: number;
};

/** Bets as they are, and with each disc turned over; for each legal move the discs on the lines that make it legal. */
export type BoardSaliency = {
    origin: Origin;
    size: number;
    ply: number;
    next: number[];
    discs: {
        square: string;
        next: number[];
    }[];
    lines: Record<string, string[]>;
};

/** A game's tokens, and edits that do to it in any run what was asked. */
export type BoardEdits = {
    origin: Origin;
    tokens: number[];
    edits: {
        site: string;
        op: string;
        positions: number[];
        value: number[];
    }[];
};

/** A text with games, or how many random ones, each of at most n_moves moves. */
export type BoardGamesRequest = {
    size: number;
    text?: string;
    random?: number;
    seed?: number;
    n_moves?: number;
};

/** Games as moves; discs are black's and white's at the end. */
export type BoardGames = {
    games: {
        label: string;
        moves: string;
        n: number;
        over: boolean;
        discs: number[];
    }[];
};

/** How often a model's likeliest move is illegal, on games it was not trained on. */
export type BoardScore = {
    sequences: number;
    positions: number;
    illegal_top: number;
    illegal_top_interval: number[];
    illegal_mass: number;
    [key: string]: unknown;
};

/** A model of Othello: its probes with the share of squares and of discs that they read rightly on games they were not fitted to, what the same probes reach of controls, and how it was scored. */
export type BoardAbout = {
    origin: Origin;
    size: number;
    n_layers: number;
    n_heads: number;
    width: number;
    n_parameters: number;
    best_layer: number | null;
    readers: {
        layer: number;
        site: string;
        kind: string;
        squares: number | null;
        discs: number | null;
        discs_controls: Record<string, number | null>;
        means: boolean;
        n_test: number;
        world?: string;
    }[];
    how: {
        strength: number;
        first: number;
        last: number;
    };
    warnings: string[];
    score: {
        score: BoardScore;
        untrained?: BoardScore;
        [key: string]: unknown;
    } | null;
};

/** What each route takes and gives: the texts for its path's braces, its query, its body, its reply. */
export interface Routes {
    /** Whether the server is there; the one path without a token. */
    'GET /health': {
        params: [];
        query: Record<string, never>;
        body: null;
        reply: Health;
    };
    /** Counters and times in Prometheus's text format. */
    'GET /metrics': {
        params: [];
        query: Record<string, never>;
        body: null;
        reply: Response;
    };
    /** What is known of each study: its question, its claims, what they gave. */
    'GET /api/v1/studies': {
        params: [];
        query: Record<string, never>;
        body: null;
        reply: Studies;
    };
    /** Jobs, newest first and without their results, and the kinds that there are. */
    'GET /api/v1/jobs': {
        params: [];
        query: {
            state?: JobState;
            kind?: string;
            n?: number;
        };
        body: null;
        reply: Jobs;
    };
    /** Puts a job into the queue. */
    'POST /api/v1/jobs': {
        params: [];
        query: Record<string, never>;
        body: NewJob;
        reply: Job;
    };
    /** One job, with its result. */
    'GET /api/v1/jobs/{job}': {
        params: [job: string];
        query: Record<string, never>;
        body: null;
        reply: Job;
    };
    /** Asks a job to stop; it says so by an event. */
    'POST /api/v1/jobs/{job}/stop': {
        params: [job: string];
        query: Record<string, never>;
        body: null;
        reply: Job;
    };
    /** Goes on with a job that was stopped, interrupted or failed, where its kind allows. */
    'POST /api/v1/jobs/{job}/resume': {
        params: [job: string];
        query: Record<string, never>;
        body: null;
        reply: Job;
    };
    /** Forgets a job that is over, with its folder. */
    'DELETE /api/v1/jobs/{job}': {
        params: [job: string];
        query: Record<string, never>;
        body: null;
        reply: null;
    };
    /** Server-sent events of some topics (job,run.scalar; all without), from behind Last-Event-ID on. */
    'GET /api/v1/events': {
        params: [];
        query: {
            topics?: string;
            last?: number;
        };
        body: null;
        reply: Response;
    };
    /** Views that were kept, newest first. */
    'GET /api/v1/snapshots': {
        params: [];
        query: Record<string, never>;
        body: null;
        reply: Snapshots;
    };
    /** Keeps the state of a view. */
    'POST /api/v1/snapshots': {
        params: [];
        query: Record<string, never>;
        body: NewSnapshot;
        reply: Snapshot;
    };
    /** One of them. */
    'GET /api/v1/snapshots/{snapshot}': {
        params: [snapshot: string];
        query: Record<string, never>;
        body: null;
        reply: Snapshot;
    };
    /** Forgets it. */
    'DELETE /api/v1/snapshots/{snapshot}': {
        params: [snapshot: string];
        query: Record<string, never>;
        body: null;
        reply: null;
    };
    /** The models and their sizes; none is opened by that. */
    'GET /api/v1/models': {
        params: [];
        query: Record<string, never>;
        body: null;
        reply: ModelInfos;
    };
    /** One model, which is opened, with its sizes and hash. */
    'GET /api/v1/models/{model}': {
        params: [model: string];
        query: Record<string, never>;
        body: null;
        reply: ModelInfo;
    };
    /** Every named value of a model with its shape and type, as `sightglass inspect` lists them. */
    'GET /api/v1/models/{model}/names': {
        params: [model: string];
        query: Record<string, never>;
        body: null;
        reply: ModelNames;
    };
    /** A text as tokens. */
    'POST /api/v1/models/{model}/tokenize': {
        params: [model: string];
        query: Record<string, never>;
        body: TokenizeRequest;
        reply: TokenizeReply;
    };
    /** Tokens as a text. */
    'POST /api/v1/models/{model}/detokenize': {
        params: [model: string];
        query: Record<string, never>;
        body: DetokenizeRequest;
        reply: DetokenizeReply;
    };
    /** Every method, with what it takes. */
    'GET /api/v1/methods': {
        params: [];
        query: Record<string, never>;
        body: null;
        reply: Methods;
    };
    /** Runs a method as a job of kind method: its events tell how far it is, its result is a MethodResult. */
    'POST /api/v1/methods/{method}': {
        params: [method: string];
        query: Record<string, never>;
        body: MethodAsk;
        reply: Job;
    };
    /** What a job wrote. */
    'GET /api/v1/jobs/{job}/files': {
        params: [job: string];
        query: Record<string, never>;
        body: null;
        reply: JobFiles;
    };
    /** One file that a job wrote; in names a folder that it lies in. */
    'GET /api/v1/jobs/{job}/files/{file}': {
        params: [job: string, file: string];
        query: {
            in?: string;
        };
        body: null;
        reply: Response;
    };
    /** The models, as in OpenAI's interface. */
    'GET /v1/models': {
        params: [];
        query: Record<string, never>;
        body: null;
        reply: OpenAIModels;
    };
    /** One model, as in OpenAI's interface. */
    'GET /v1/models/{model}': {
        params: [model: string];
        query: Record<string, never>;
        body: null;
        reply: OpenAIModel;
    };
    /** Writes on from prompts, as in OpenAI's interface, with edits and fetched values. */
    'POST /v1/completions': {
        params: [];
        query: Record<string, never>;
        body: CompletionRequest;
        reply: Completion;
    };
    /** Answers messages, as in OpenAI's interface, with edits and fetched values. */
    'POST /v1/chat/completions': {
        params: [];
        query: Record<string, never>;
        body: ChatRequest;
        reply: ChatCompletion;
    };
    /** The mean of a value over the positions of each input, as in OpenAI's interface. */
    'POST /v1/embeddings': {
        params: [];
        query: Record<string, never>;
        body: EmbeddingRequest;
        reply: Embeddings;
    };
    /** The models, as in Ollama's interface. */
    'GET /api/tags': {
        params: [];
        query: Record<string, never>;
        body: null;
        reply: OllamaTags;
    };
    /** The version, as in Ollama's interface. */
    'GET /api/version': {
        params: [];
        query: Record<string, never>;
        body: null;
        reply: OllamaVersion;
    };
    /** Writes on from a text, as in Ollama's interface. */
    'POST /api/generate': {
        params: [];
        query: Record<string, never>;
        body: OllamaGenerate;
        reply: OllamaReply;
    };
    /** Answers messages, as in Ollama's interface. */
    'POST /api/chat': {
        params: [];
        query: Record<string, never>;
        body: OllamaChat;
        reply: OllamaReply;
    };
    /** Runs a prompt, edited beside unedited in one batch: the likeliest tokens, loss, rank and entropy at each position, and names under which more is read of either run. */
    'POST /api/v1/models/{model}/run': {
        params: [model: string];
        query: Record<string, never>;
        body: InspectRequest;
        reply: InspectRun;
    };
    /** Statistics of a value of a run, or of a part of it (3,:,0:64), and its numbers where they are few. */
    'GET /api/v1/models/{model}/runs/{run}/value': {
        params: [model: string, run: string];
        query: {
            site: string;
            part?: string;
        };
        body: null;
        reply: InspectValue;
    };
    /** The numbers of a value or of its part. */
    'GET /api/v1/models/{model}/runs/{run}/tensor': {
        params: [model: string, run: string];
        query: {
            site: string;
            part?: string;
        };
        body: null;
        reply: Response;
    };
    /** What each layer writes at each position: norms of hook_resid_post, hook_attn_out and hook_mlp_out as [layers,positions], and how much they differ from those of another run, over its norm. */
    'GET /api/v1/models/{model}/runs/{run}/strip': {
        params: [model: string, run: string];
        query: {
            layer?: number;
            against?: string;
        };
        body: null;
        reply: Response;
    };
    /** The heads of a layer: entropy, greatest weight, weight on itself, on the token before and on the first, distance, and the norm of what it writes, as [heads,positions]; and thumbnails of their patterns. */
    'GET /api/v1/models/{model}/runs/{run}/heads': {
        params: [model: string, run: string];
        query: {
            layer?: number;
        };
        body: null;
        reply: Response;
    };
    /** A tile of at most 256 by 256 weights of a head's pattern; level k is pooled from 2^k by 2^k weights. */
    'GET /api/v1/models/{model}/runs/{run}/attention/{layer}/{head}': {
        params: [model: string, run: string, layer: string, head: string];
        query: {
            level?: number;
            row?: number;
            column?: number;
            how?: 'most' | 'mean';
        };
        body: null;
        reply: Response;
    };
    /** The logit lens: what the last norm and the unembedding make of the residual stream before block 0 and after each block. */
    'GET /api/v1/models/{model}/runs/{run}/lens': {
        params: [model: string, run: string];
        query: {
            first?: number;
            n?: number;
            top?: number;
            token?: string;
        };
        body: null;
        reply: InspectLens;
    };
    /** Puts what one prompt has at a layer into the run of another, position by position (and head by head), and tells which part of the difference of a metric comes with it: 0 none, 1 all. */
    'POST /api/v1/models/{model}/patch': {
        params: [model: string];
        query: Record<string, never>;
        body: PatchRequest;
        reply: PatchLayer;
    };
    /** A model of Othello: what its probes read beside what controls reach, and how often it would play what is illegal. */
    'GET /api/v1/models/{model}/board': {
        params: [model: string];
        query: Record<string, never>;
        body: null;
        reply: BoardAbout;
    };
    /** A position of a game: the true board, the board that is read at each layer, the bets on the next move, and all of it again with squares edited in the model alone, beside random pushes as long. */
    'POST /api/v1/models/{model}/board': {
        params: [model: string];
        query: Record<string, never>;
        body: BoardRequest;
        reply: BoardReply;
    };
    /** Latent saliency: what each prediction becomes with one disc turned over in the model alone, for every disc. */
    'POST /api/v1/models/{model}/board/saliency': {
        params: [model: string];
        query: Record<string, never>;
        body: BoardSaliencyRequest;
        reply: BoardSaliency;
    };
    /** The edits of a position as the list that runs take (`sightglass run --tokens FILE --edits FILE`, `edits` of /v1). */
    'POST /api/v1/models/{model}/board/edits': {
        params: [model: string];
        query: Record<string, never>;
        body: BoardRequest;
        reply: BoardEdits;
    };
    /** Games of Othello from a text (moves, numbered moves with tags, tournament lists), or drawn at random. */
    'POST /api/v1/board/games': {
        params: [];
        query: Record<string, never>;
        body: BoardGamesRequest;
        reply: BoardGames;
    };
}

/** How each is asked. `stream`: it may answer by server-sent events. */
export const routes: { readonly [K in keyof Routes]: { readonly method: string; readonly path: string; readonly reply: 'json' | 'bytes' | 'stream' | 'none'; readonly stream: boolean } } = {
    'GET /health': { method: 'GET', path: '/health', reply: 'json', stream: false },
    'GET /metrics': { method: 'GET', path: '/metrics', reply: 'bytes', stream: false },
    'GET /api/v1/studies': { method: 'GET', path: '/api/v1/studies', reply: 'json', stream: false },
    'GET /api/v1/jobs': { method: 'GET', path: '/api/v1/jobs', reply: 'json', stream: false },
    'POST /api/v1/jobs': { method: 'POST', path: '/api/v1/jobs', reply: 'json', stream: false },
    'GET /api/v1/jobs/{job}': { method: 'GET', path: '/api/v1/jobs/{job}', reply: 'json', stream: false },
    'POST /api/v1/jobs/{job}/stop': { method: 'POST', path: '/api/v1/jobs/{job}/stop', reply: 'json', stream: false },
    'POST /api/v1/jobs/{job}/resume': { method: 'POST', path: '/api/v1/jobs/{job}/resume', reply: 'json', stream: false },
    'DELETE /api/v1/jobs/{job}': { method: 'DELETE', path: '/api/v1/jobs/{job}', reply: 'none', stream: false },
    'GET /api/v1/events': { method: 'GET', path: '/api/v1/events', reply: 'stream', stream: true },
    'GET /api/v1/snapshots': { method: 'GET', path: '/api/v1/snapshots', reply: 'json', stream: false },
    'POST /api/v1/snapshots': { method: 'POST', path: '/api/v1/snapshots', reply: 'json', stream: false },
    'GET /api/v1/snapshots/{snapshot}': { method: 'GET', path: '/api/v1/snapshots/{snapshot}', reply: 'json', stream: false },
    'DELETE /api/v1/snapshots/{snapshot}': { method: 'DELETE', path: '/api/v1/snapshots/{snapshot}', reply: 'none', stream: false },
    'GET /api/v1/models': { method: 'GET', path: '/api/v1/models', reply: 'json', stream: false },
    'GET /api/v1/models/{model}': { method: 'GET', path: '/api/v1/models/{model}', reply: 'json', stream: false },
    'GET /api/v1/models/{model}/names': { method: 'GET', path: '/api/v1/models/{model}/names', reply: 'json', stream: false },
    'POST /api/v1/models/{model}/tokenize': { method: 'POST', path: '/api/v1/models/{model}/tokenize', reply: 'json', stream: false },
    'POST /api/v1/models/{model}/detokenize': { method: 'POST', path: '/api/v1/models/{model}/detokenize', reply: 'json', stream: false },
    'GET /api/v1/methods': { method: 'GET', path: '/api/v1/methods', reply: 'json', stream: false },
    'POST /api/v1/methods/{method}': { method: 'POST', path: '/api/v1/methods/{method}', reply: 'json', stream: false },
    'GET /api/v1/jobs/{job}/files': { method: 'GET', path: '/api/v1/jobs/{job}/files', reply: 'json', stream: false },
    'GET /api/v1/jobs/{job}/files/{file}': { method: 'GET', path: '/api/v1/jobs/{job}/files/{file}', reply: 'bytes', stream: false },
    'GET /v1/models': { method: 'GET', path: '/v1/models', reply: 'json', stream: false },
    'GET /v1/models/{model}': { method: 'GET', path: '/v1/models/{model}', reply: 'json', stream: false },
    'POST /v1/completions': { method: 'POST', path: '/v1/completions', reply: 'json', stream: true },
    'POST /v1/chat/completions': { method: 'POST', path: '/v1/chat/completions', reply: 'json', stream: true },
    'POST /v1/embeddings': { method: 'POST', path: '/v1/embeddings', reply: 'json', stream: false },
    'GET /api/tags': { method: 'GET', path: '/api/tags', reply: 'json', stream: false },
    'GET /api/version': { method: 'GET', path: '/api/version', reply: 'json', stream: false },
    'POST /api/generate': { method: 'POST', path: '/api/generate', reply: 'json', stream: true },
    'POST /api/chat': { method: 'POST', path: '/api/chat', reply: 'json', stream: true },
    'POST /api/v1/models/{model}/run': { method: 'POST', path: '/api/v1/models/{model}/run', reply: 'json', stream: false },
    'GET /api/v1/models/{model}/runs/{run}/value': { method: 'GET', path: '/api/v1/models/{model}/runs/{run}/value', reply: 'json', stream: false },
    'GET /api/v1/models/{model}/runs/{run}/tensor': { method: 'GET', path: '/api/v1/models/{model}/runs/{run}/tensor', reply: 'bytes', stream: false },
    'GET /api/v1/models/{model}/runs/{run}/strip': { method: 'GET', path: '/api/v1/models/{model}/runs/{run}/strip', reply: 'bytes', stream: false },
    'GET /api/v1/models/{model}/runs/{run}/heads': { method: 'GET', path: '/api/v1/models/{model}/runs/{run}/heads', reply: 'bytes', stream: false },
    'GET /api/v1/models/{model}/runs/{run}/attention/{layer}/{head}': { method: 'GET', path: '/api/v1/models/{model}/runs/{run}/attention/{layer}/{head}', reply: 'bytes', stream: false },
    'GET /api/v1/models/{model}/runs/{run}/lens': { method: 'GET', path: '/api/v1/models/{model}/runs/{run}/lens', reply: 'json', stream: false },
    'POST /api/v1/models/{model}/patch': { method: 'POST', path: '/api/v1/models/{model}/patch', reply: 'json', stream: false },
    'GET /api/v1/models/{model}/board': { method: 'GET', path: '/api/v1/models/{model}/board', reply: 'json', stream: false },
    'POST /api/v1/models/{model}/board': { method: 'POST', path: '/api/v1/models/{model}/board', reply: 'json', stream: false },
    'POST /api/v1/models/{model}/board/saliency': { method: 'POST', path: '/api/v1/models/{model}/board/saliency', reply: 'json', stream: false },
    'POST /api/v1/models/{model}/board/edits': { method: 'POST', path: '/api/v1/models/{model}/board/edits', reply: 'json', stream: false },
    'POST /api/v1/board/games': { method: 'POST', path: '/api/v1/board/games', reply: 'json', stream: false },
};
