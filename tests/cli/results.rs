//! What is computed, drawn and written from a finished training.

use super::*;

#[test]
fn evaluate_prints_one_json_object_with_the_figures_of_the_training() {
    let folder = with_trained();
    let found = json(&succeed(folder.path(), &["evaluate", "tiny", "--json"]));
    let known = json(&fs::read_to_string(folder.path().join("tiny/evaluation.json")).unwrap());
    for key in [
        "samples",
        "reverse_ess",
        "forward_ess",
        "log_z",
        "log_z_error",
        "nll",
        "nll_error",
        "energy_evaluations",
        "train_seconds",
    ] {
        assert!(found[key].is_number(), "{key}: {}", found[key]);
        assert_eq!(found[key], known[key], "{key}");
    }
    assert_eq!(found["samples"], 300);
    assert!(succeed(folder.path(), &["evaluate", "tiny"]).contains("forward ESS"));
    // Other numbers of samples give other figures.
    let more = json(&succeed(folder.path(), &["evaluate", "tiny", "--json", "-n", "500"]));
    assert_eq!(more["samples"], 500);
    assert_ne!(more["log_z"], known["log_z"]);
}

#[test]
fn evaluate_anneals_as_many_samples_as_it_is_told() {
    let folder = with_trained();
    let found = |count: &'static str| {
        json(&succeed(folder.path(), &["evaluate", "tiny", "--json", "--annealed", count]))
    };
    assert_eq!(found("40")["annealed_samples"], 40);
    let none = found("0");
    assert!(none["annealed_samples"] == 0 && none["ais_ess"].is_null());
    assert!(none["reverse_ess"].is_number());
    let text = succeed(folder.path(), &["evaluate", "tiny", "--annealed", "0"]);
    assert!(!text.contains("AIS"), "{text}");
    assert!(succeed(folder.path(), &["evaluate", "tiny"]).contains("of 30 annealed samples"));
}

#[test]
fn bench_says_how_long_it_takes_and_how_far_it_is() {
    let folder = workplace();
    let case = ["bench", "dw4-pairwise: sample", "-n", "64", "--seconds"];
    let said = succeed(folder.path(), &[&case[..], &["0.01"]].concat());
    assert!(said.starts_with("measurements: 1, about 0 s in all\n"), "{said}");
    assert!(said.contains("dw4-pairwise: sample + log q"), "{said}");
    let output = boltzflow(folder.path(), &[&case[..], &["3"]].concat());
    assert!(out(&output).starts_with("measurements: 1, about 3 s in all\n"), "{}", out(&output));
    let progress = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = "measuring dw4-pairwise: sample + log q: 0 of 1 parts";
    assert!(progress.contains(line), "{progress}");
}

#[test]
fn evaluate_adds_distances_and_weights_on_x_alone_and_compare_reads_what_it_saved() {
    let folder = with_trained();
    let arguments = ["evaluate", "tiny", "--distances", "20", "--marginal", "--save", "--json"];
    let found = json(&succeed(folder.path(), &arguments));
    assert_eq!(found["distances"]["samples"], 20);
    for set in ["flow", "reweighted", "annealed", "floor"] {
        for figure in ["energy_w2", "geometric_w2", "distance_w2", "distance_tv"] {
            assert!(found["distances"][set][figure].as_f64().unwrap() > 0.0, "{set} {figure}");
        }
    }
    assert!(found["marginal_reverse_ess"].is_number());
    let saved = fs::read_to_string(folder.path().join("tiny/evaluation.json")).unwrap();
    assert_eq!(json(&saved), found);
    succeed(folder.path(), &["train", "plain.toml"]);
    refuse(folder.path(), &["evaluate", "plain", "--distances"], 2, &["--reference FILE"]);

    // Another seed is one line with it; the same seed again and another target are not.
    fs::create_dir(folder.path().join("again")).unwrap();
    for entry in fs::read_dir(folder.path().join("tiny")).unwrap() {
        let from = entry.unwrap().path();
        fs::copy(&from, folder.path().join("again").join(from.file_name().unwrap())).unwrap();
    }
    succeed(folder.path(), &["train", "tiny.toml", "-o", "four", "--seed", "4"]);
    let colder = TARGET.replace("temperature = 1.0", "temperature = 0.9");
    fs::write(folder.path().join("pair.toml"), colder).unwrap();
    fs::create_dir(folder.path().join("deep")).unwrap();
    succeed(folder.path(), &["train", "tiny.toml", "-o", "deep/tiny", "--seed", "5"]);
    let arguments =
        ["compare", "tiny", "plain", "again", "four", "deep/tiny", "--csv", "t.csv", "-o", "f.svg"];
    let said = succeed(folder.path(), &arguments);
    let line = |name: &str| said.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("| tiny").starts_with("| tiny | 2 |"), "{said}");
    assert!(line("| plain").contains("| – |"), "{said}");
    assert!(line("| deep/tiny").starts_with("| deep/tiny | 1 |"), "{said}");
    assert!(said.contains("again has recipe, target and seed of tiny"), "{said}");
    let ess = format!("{:.2}", 100.0 * found["reverse_ess"].as_f64().unwrap());
    assert!(line("| again | 1").contains(&ess) && line("| again").contains("| 300 |"), "{said}");
    let table = fs::read_to_string(folder.path().join("t.csv")).unwrap();
    assert_eq!(table.lines().count(), 5);
    assert!(table.starts_with("recipe,seeds,parameters,"), "{table}");
    for file in ["f.svg", "f.png"] {
        assert!(fs::metadata(folder.path().join(file)).unwrap().len() > 1000);
    }
    fs::remove_file(folder.path().join("again/evaluation.json")).unwrap();
    refuse(folder.path(), &["compare", "again"], 2, &["boltzflow evaluate again --save"]);
    refuse(folder.path(), &["compare", "tiny", "-o", "f.pdf"], 2, &[".svg or .png"]);
    refuse(folder.path(), &["compare", "nowhere"], 2, &["nowhere"]);
}

/// What an effective sample costs by the flow and by Monte Carlo, printed, saved and reported.
#[test]
fn evaluate_says_from_when_on_a_training_has_paid() {
    let folder = with_trained();
    let without = json(&succeed(folder.path(), &["evaluate", "tiny", "--json"]));
    assert!(without["effective_per_second"].is_null() && without["pays_from_in_time"].is_null());
    let found =
        json(&succeed(folder.path(), &["evaluate", "tiny", "--cost=1", "--save", "--json"]));
    let figure = |name: &str| found[name].as_f64().unwrap_or_else(|| panic!("{name}: {found}"));
    let close = |a: f64, b: f64| assert!((a / b - 1.0).abs() < 1e-9, "{a} {b}: {found}");
    close(figure("effective_per_second"), figure("samples_per_second") * figure("reverse_ess"));
    close(figure("evaluations_per_effective"), 1.0 / figure("reverse_ess"));
    let energies = figure("leapfrog_steps") * figure("autocorrelation_time");
    close(figure("monte_carlo_evaluations"), energies);
    assert!(figure("monte_carlo_per_second") > 100.0);
    assert!(figure("autocorrelation_time_error") < 0.5 * figure("autocorrelation_time"));
    // What is saved from then on is what the training took.
    let saved = figure("monte_carlo_evaluations") - figure("evaluations_per_effective");
    close(figure("pays_from_in_energies") * saved, figure("energy_evaluations"));
    let [flow, chains] = ["effective_per_second", "monte_carlo_per_second"].map(figure);
    assert_eq!(found["pays_from_in_time"].is_number(), flow > chains);
    // What does not come from a clock is the same without --cost.
    for key in ["reverse_ess", "log_z", "nll", "ais_ess"] {
        assert_eq!(found[key], without[key], "{key}");
    }
    let said = succeed(folder.path(), &["evaluate", "tiny", "--cost=1", "--marginal"]);
    for word in
        ["effective samples/s  ", " on x alone)", "energies and forces each (τ = ", "worth it     "]
    {
        assert!(said.contains(word), "no {word:?} in: {said}");
    }
    let of_cost = |line: &&str| ["effective", "worth", "by Monte"].iter().any(|w| line.contains(w));
    assert!(said.lines().filter(of_cost).count() >= 3, "{said}");
    assert!(said.lines().filter(of_cost).all(|line| line.chars().count() <= 80), "{said}");
    succeed(folder.path(), &["report", "tiny", "-o", "r.html"]);
    let page = fs::read_to_string(folder.path().join("r.html")).unwrap();
    assert!(page.contains("When the training has paid"), "no word of it");
    let table = succeed(folder.path(), &["compare", "tiny"]);
    assert!(table.contains("by Monte Carlo"), "{table}");
    // Too short a time for any figure, and nothing to start from.
    let said = succeed(folder.path(), &["evaluate", "tiny", "--cost=1e-9"]);
    assert!(
        said.contains("no figure for Monte Carlo") && said.contains("--cost=SECONDS"),
        "{said}"
    );
    succeed(folder.path(), &["train", "plain.toml"]);
    refuse(folder.path(), &["evaluate", "plain", "--cost"], 2, &["--cost", "--reference FILE"]);
    for wrong in ["--cost=0", "--cost=x", "--cost=-1"] {
        refuse(folder.path(), &["evaluate", "tiny", wrong], 2, &["--cost"]);
    }
    let table = succeed(folder.path(), &["compare", "plain"]);
    assert!(!table.contains("by Monte Carlo") && table.contains("log Z"), "{table}");
}

#[test]
fn evaluate_has_null_for_what_it_cannot_compute() {
    let folder = workplace();
    succeed(folder.path(), &["train", "plain.toml"]);
    let found = json(&succeed(folder.path(), &["evaluate", "plain", "--json"]));
    for key in ["forward_ess", "nll", "nll_error"] {
        assert!(found.as_object().unwrap().contains_key(key) && found[key].is_null(), "{key}");
    }
    assert!(found["reverse_ess"].as_f64().unwrap() > 0.0);
}

#[test]
fn evaluate_takes_reference_samples_of_the_user() {
    let folder = with_trained();
    let place = |name: &str| folder.path().join(name);
    let write = |name: &str, system: System, samples: usize| {
        let positions = (0..samples * system.coordinates()).map(|k| (k as f64 * 0.7).sin());
        let samples_ = Samples { positions: positions.collect(), ..Samples::default() };
        write_samples(place(name), system, samples, [Ok(samples_)]).unwrap();
    };
    for name in ["mine.npy", "mine.npz"] {
        write(name, system(), 20);
        let arguments = ["evaluate", "tiny", "--json", "--reference", name];
        let found = json(&succeed(folder.path(), &arguments));
        assert_eq!(found["reference_samples"], 20);
        assert!(found["nll"].is_number());
    }
    // Weights would be dropped: a file of the program's own has them.
    for name in ["weighted.npz", "weighted.xyz", "weighted.csv"] {
        succeed(folder.path(), &["sample", "tiny", "-n", "20", "-o", name]);
        let words = [name, "log weights", "--resample"];
        refuse(folder.path(), &["evaluate", "tiny", "--reference", name], 2, &words);
        let more = ["--resample", "20"];
        let draw = [&["sample", "tiny", "-n", "200", "-o", name][..], &more].concat();
        succeed(folder.path(), &draw);
        succeed(folder.path(), &["evaluate", "tiny", "--reference", name]);
    }
    write("wide.npy", System::new(2, 3).unwrap(), 20);
    write("many.npz", System::new(3, 2).unwrap(), 20);
    fs::write(place("text.npy"), "no array").unwrap();
    for (name, words) in [
        ("wide.npy", ["wide.npy", "[20, 2, 3]"]),
        ("many.npz", ["many.npz", "[20, 3, 2]"]),
        ("text.npy", ["text.npy", "npy"]),
        ("none.npy", ["none.npy", "cannot read"]),
    ] {
        refuse(folder.path(), &["evaluate", "tiny", "--reference", name], 2, &words);
    }
}

#[test]
fn sample_writes_every_format() {
    let folder = with_trained();
    let draw = |name: &str, seed: &str| {
        let said =
            succeed(folder.path(), &["sample", "tiny", "-n", "50", "-o", name, "--seed", seed]);
        let bare = name.ends_with("npy");
        assert_eq!(said.contains("without weights"), bare, "{said}");
        assert_eq!(said.contains("with log weights and energies"), !bare, "{said}");
        assert_eq!(said.contains("energies in kT"), !bare, "{said}");
        folder.path().join(name)
    };
    let full = read_samples(draw("a.npz", "1"), system()).unwrap();
    assert_eq!(full.count(system()), 50);
    assert_eq!(full.log_weights.len(), 50);
    assert_eq!(full.energies.len(), 50);
    let bare = read_samples(draw("a.npy", "1"), system()).unwrap();
    assert_eq!(bare.positions, full.positions);
    let text = fs::read_to_string(draw("a.csv", "1")).unwrap();
    assert_eq!(text.lines().count(), 51);
    assert!(text.starts_with("x0,y0,x1,y1,log_weight,energy"));
    let other = read_samples(draw("b.npy", "2"), system()).unwrap();
    assert_ne!(other.positions, bare.positions);
}

#[test]
fn plot_draws_the_figures_into_the_given_folder() {
    let folder = with_trained();
    succeed(folder.path(), &["plot", "tiny", "-o", "figures"]);
    let figures = files(&folder.path().join("figures"));
    assert!(figures.len() >= 10, "{figures:?}");
    let text = fs::read_to_string(folder.path().join("figures/energy.svg")).unwrap();
    assert!(text.contains("<svg") && text.contains("energy"));
}

#[test]
fn figures_and_pages_without_a_place_go_into_the_folder_of_their_run() {
    let folder = with_trained();
    let place = folder.path();
    // Beside a run in `runs` may be figures of an earlier run of that name.
    fs::create_dir_all(place.join("plots/tiny")).unwrap();
    fs::create_dir(place.join("runs")).unwrap();
    fs::rename(place.join("tiny"), place.join("runs/tiny")).unwrap();
    fs::write(place.join("plots/tiny/ess.svg"), "mine").unwrap();
    fs::write(place.join("report.html"), "mine").unwrap();
    let said = succeed(place, &["plot", "runs/tiny"]);
    assert!(said.contains("figures in runs/tiny\n"), "{said}");
    let said = succeed(place, &["report", "runs/tiny"]);
    assert!(said.contains("report in runs/tiny/report.html"), "{said}");
    for (file, made) in [("runs/tiny/ess.svg", "<svg"), ("runs/tiny/report.html", "<!doctype")] {
        assert!(fs::read_to_string(place.join(file)).unwrap().contains(made), "{file}");
    }
    for file in ["plots/tiny/ess.svg", "report.html"] {
        assert_eq!(fs::read_to_string(place.join(file)).unwrap(), "mine", "{file}");
    }
}

#[test]
fn plot_of_several_runs_draws_each_and_their_curves_in_one_figure() {
    let folder = with_trained();
    succeed(folder.path(), &["train", "tiny.toml", "--seed", "4", "-o", "other"]);
    succeed(folder.path(), &["plot", "tiny", "other", "-o", "figures"]);
    for figure in ["tiny/ess.svg", "other/energy.png", "comparison.png"] {
        assert!(folder.path().join("figures").join(figure).exists(), "{figure}");
    }
    // Two seeds of one recipe are a band.
    let text = fs::read_to_string(folder.path().join("figures/comparison.svg")).unwrap();
    assert!(text.contains("bands"), "no band");
}

#[test]
fn reference_reports_and_writes_samples() {
    let folder = workplace();
    let arguments = ["reference", "pair.toml", "-n", "64", "--chains", "256", "-o", "r.npz"];
    let said = succeed(folder.path(), &arguments);
    assert!(said.contains("log Z") && said.contains("virial"));
    let samples = read_samples(folder.path().join("r.npz"), system()).unwrap();
    assert_eq!(samples.count(system()), 64);
    assert_eq!(samples.energies.len(), 64);
    let arguments = ["reference", "pair.toml", "-n", "64", "--chains", "256", "--json"];
    let report = json(&succeed(folder.path(), &arguments));
    assert!(report["log_z"].is_number() && report["degrees_of_freedom"] == 2);
    assert_eq!(report["averages"].as_array().map(Vec::len), Some(0));
    // Every format, and averages over what it drew.
    for file in ["r.npy", "r.csv", "r.xyz"] {
        let arguments = ["reference", "pair.toml", "-n", "64", "-o", file];
        let said = succeed(folder.path(), &[&arguments[..], &["--chains", "256"]].concat());
        assert!(said.contains(&format!("samples in {file}: positions")), "{said}");
        assert_eq!(read_samples(folder.path().join(file), system()).unwrap().count(system()), 64);
    }
    let arguments = ["reference", "pair.toml", "-n", "2000", "--chains", "2000", "--json"];
    let observables = ["--observable", "energy", "--observable", "pair: r^2"];
    let report = json(&succeed(folder.path(), &[&arguments[..], &observables].concat()));
    let (energy, error) = (report["energy"].as_f64().unwrap(), &report["averages"][0]["error"]);
    let mean = report["averages"][0]["mean"].as_f64().unwrap();
    assert!((mean - energy).abs() < 4.5 * error.as_f64().unwrap().hypot(0.05), "{mean} {energy}");
    assert_eq!(report["averages"][1]["observable"], "pair: r^2");
    let arguments = ["reference", "pair.toml", "--observable", "pair: s"];
    refuse(folder.path(), &arguments, 2, &["--observable", "called `s`"]);
}

#[test]
fn a_recipe_says_how_many_chains_draw_its_reference_samples() {
    let folder = workplace();
    let chains = ["--set", "evaluate.reference_chains=160"];
    let train = ["train", "tiny.toml", "--set", "evaluate.reference_samples=100"];
    let few = [&train[..], &["--set", "evaluate.reference_chains=16"]].concat();
    refuse(folder.path(), &few, 2, &["reference_chains", "100"]);
    let said = succeed(folder.path(), &[&train[..], &chains, &["--dry-run"]].concat());
    assert!(said.contains("# reference samples: about"), "{said}");
    succeed(folder.path(), &[&train[..], &chains].concat());
    let drawn = read_samples(folder.path().join("tiny/reference.npz"), system()).unwrap();
    assert_eq!(drawn.count(system()), 100);
    // Not the samples that the usual 4096 chains give.
    succeed(folder.path(), &[&train[..], &["-o", "usual"]].concat());
    let usual = read_samples(folder.path().join("usual/reference.npz"), system()).unwrap();
    assert_ne!(usual.positions, drawn.positions);
}

#[test]
fn sample_resamples_and_anneals_and_writes_extended_xyz() {
    let folder = with_trained();
    let draw = |name: &str, extra: &[&str]| {
        let arguments = [&["sample", "tiny", "-n", "400", "-o", name][..], extra].concat();
        (succeed(folder.path(), &arguments), folder.path().join(name))
    };
    let (said, path) = draw("equal.xyz", &["--resample", "50"]);
    assert!(said.contains("50 equally weighted samples") && said.contains("out of 400"), "{said}");
    let text = fs::read_to_string(path).unwrap();
    assert_eq!(text.matches("energy=").count(), 50);
    assert!(!text.contains("log_weight"));
    let (_, path) = draw("annealed.npz", &["--ais"]);
    let annealed = read_samples(&path, system()).unwrap();
    let plain = read_samples(draw("plain.npz", &[]).1, system()).unwrap();
    assert_eq!(annealed.count(system()), 400);
    assert_ne!(annealed.positions, plain.positions);
    // Annealing raises the effective sample size, and the energies are those of the positions.
    let ess = |samples: &Samples| {
        boltzflow::diagnostics::effective_sample_size(&samples.log_weights).count
    };
    assert!(ess(&annealed) > ess(&plain), "{} {}", ess(&annealed), ess(&plain));
    for (x, energy) in annealed.positions.chunks(4).zip(annealed.energies) {
        let r = ((x[0] - x[2]).powi(2) + (x[1] - x[3]).powi(2)).sqrt() - 2.0;
        assert!((energy - (-r * r + 0.5 * r.powi(4))).abs() < 1e-9 * (1.0 + energy.abs()));
    }
    refuse(folder.path(), &["sample", "tiny", "-n", "5", "-o", "a.gro"], 2, &["a.gro", ".xyz"]);
}

/// Weights on x alone, in files and averages; a second batch draws copies of its own.
#[test]
fn sample_and_estimate_have_weights_on_x_alone() {
    let folder = with_trained();
    let draw = |name: &str, extra: &[&str]| {
        let arguments = [&["sample", "tiny", "-n", "400", "-o", name][..], extra].concat();
        let said = succeed(folder.path(), &arguments);
        (said, read_samples(folder.path().join(name), system()).unwrap())
    };
    let (_, plain) = draw("plain.npz", &[]);
    let (said, one) = draw("one.npz", &["--marginal", "1"]);
    assert!(said.contains("with log weights on x alone (K = 1) and energies"), "{said}");
    assert_eq!(one, plain);
    let (_, many) = draw("many.npz", &["--marginal", "6"]);
    assert_eq!((&many.positions, &many.energies), (&plain.positions, &plain.energies));
    assert_ne!(many.log_weights, plain.log_weights);
    let (_, equal) = draw("equal.npz", &["--marginal", "6", "--resample", "30"]);
    assert_eq!(equal.count(system()), 30);

    let trained = Trained::open(folder.path().join("tiny"), &Registry::builtin()).unwrap();
    let (count, draws) = (16_384 + 100, NonZeroUsize::new(2).unwrap());
    let batches = trained.batches(count, Weights::Marginal(draws)).unwrap();
    let batches: Vec<Samples> = batches.map(Result::unwrap).collect();
    let (problem, theta) = (&trained.problem, &trained.theta);
    let streams = (Purpose::Sampling, 0);
    let whole = draw_marginal(problem, theta, streams, 0, count, draws).unwrap();
    assert_eq!(batches.len(), 2);
    let log_weights = batches.iter().flat_map(|batch| &batch.log_weights);
    assert!(log_weights.eq(&whole.log_weights));
    assert_ne!(batches[0].log_weights[..100], batches[1].log_weights[..]);

    let average = |extra: &[&str]| {
        let arguments = [&["estimate", "tiny", "-n", "4000", "--json"][..], extra].concat();
        json(&succeed(folder.path(), &arguments))
    };
    let (joint, alone) = (average(&[]), average(&["--marginal", "6"]));
    assert!(joint["marginal_draws"].is_null() && alone["marginal_draws"] == 6);
    assert_eq!(average(&["--marginal", "1"])["averages"], joint["averages"]);
    assert_ne!(alone["averages"], joint["averages"]);
    for key in ["mean", "error"] {
        assert!(alone["averages"][0][key].is_number());
    }
    let said = succeed(folder.path(), &["estimate", "tiny", "-n", "400", "--marginal", "6"]);
    assert!(said.contains("of 400 samples, weights on x alone (K = 6)"), "{said}");
    for command in [&["sample", "tiny", "-n", "5", "-o", "x.npz"][..], &["estimate", "tiny"]] {
        let both = [command, &["--marginal", "3", "--ais"]].concat();
        refuse(folder.path(), &both, 2, &["--marginal", "--ais", "use one of both"]);
        for wrong in ["0", "1001", "x"] {
            refuse(folder.path(), &[command, &["--marginal", wrong]].concat(), 2, &["--marginal"]);
        }
    }
}

#[test]
fn estimate_gives_averages_as_text_and_json_and_histograms_as_csv() {
    let folder = with_trained();
    let said = succeed(folder.path(), &["estimate", "tiny", "-n", "2000"]);
    assert!(said.contains("over pair") && said.contains("energy") && said.contains('±'), "{said}");
    let arguments = [
        "estimate",
        "tiny",
        "-n",
        "2000",
        "--observable",
        "pair: r^2",
        "--observable",
        "pair_distances",
        "--bins",
        "20",
        "--temperature",
        "1.5",
        "--json",
        "-o",
        "r.csv",
    ];
    let found = json(&succeed(folder.path(), &arguments));
    assert_eq!(found["averages"][0]["observable"], "pair: r^2");
    assert!(found["free_energy"]["error"].as_f64().unwrap() > 0.0);
    assert_eq!(found["profiles"][0]["density"].as_array().unwrap().len(), 20);
    let text = fs::read_to_string(folder.path().join("r.csv")).unwrap();
    assert!(text.starts_with("r,density,error\n") && text.lines().count() == 21);
    let histogram = ["--histogram", "distance: 0 1, energy", "--bins", "7", "-o", "both.csv"];
    let arguments = [&["estimate", "tiny", "-n", "2000"][..], &histogram].concat();
    let said = succeed(folder.path(), &arguments);
    assert!(said.contains("distance: 0 1, energy in both.csv"), "{said}");
    let text = fs::read_to_string(folder.path().join("both.csv")).unwrap();
    let head = "distance: 0 1,energy / kT,density,error,free_energy_kT,free_energy_error_kT\n";
    assert!(text.starts_with(head) && text.lines().count() == 50, "{text}");
    assert!(text.lines().all(|line| line.split(',').count() == 6));
    let hotter = TARGET.replace("temperature = 1.0", "temperature = 1.5");
    fs::write(folder.path().join("hot.toml"), hotter).unwrap();
    let arguments = ["estimate", "tiny", "-n", "2000", "--target", "hot.toml", "--json"];
    let other = json(&succeed(folder.path(), &arguments));
    let difference = |value: &Value| value["free_energy"]["difference"].as_f64().unwrap();
    assert!((difference(&other) - difference(&found)).abs() < 1e-9);
    for (arguments, words) in [
        (&["--observable", "enery"][..], &["--observable", "energy"][..]),
        (&["--observable", "pair: r +"], &["--observable", "pair"]),
        (&["--target", "dw4"], &["--target", "4 particles"]),
        (&["--temperature", "0"], &["--temperature", "over 0"]),
        (&["-o", "r2.csv"], &["--output", "pair_distances"]),
    ] {
        let arguments = [&["estimate", "tiny"][..], arguments].concat();
        refuse(folder.path(), &arguments, 2, words);
    }
}
