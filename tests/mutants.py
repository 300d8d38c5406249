"""One wrong change for each formula; `tests.mutation` expects a red test for every one."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One change that makes the code wrong, and the tests that must notice.

    ``file`` is below ``src/taxonet``, ``tests`` below ``tests``.
    """

    file: str
    right: str
    wrong: str
    tests: str


def _of(file: str, tests: str, *changes: tuple[str, str]) -> tuple[Mutant, ...]:
    return tuple(Mutant(file, right, wrong, tests) for right, wrong in changes)


_LOSSES = (
    *_of(
        "losses/base.py",
        "losses/test_conformance.py",
        ("losses * sample_weights", "losses"),
        ("/ weights.sum()", "/ len(weights)"),
    ),
    *_of("losses/margin.py", "losses/test_margin.py", ("- margin_cos\n", "+ margin_cos\n")),
    *_of(
        "losses/dual_margin.py",
        "losses/test_dual_margin.py",
        ("- class_margins_cos\n", "+ class_margins_cos\n"),
        ("rarity.sum() if", "rarity.mean() if"),
        (").square().sum()", ").abs().sum()"),
        ("self.regularisation * margin_regularisation", "margin_regularisation"),
    ),
    *_of(
        "losses/class_balanced.py",
        "losses/test_class_balanced.py",
        ("1 / -torch.expm1(counts * log_beta)", "1 / (1 - torch.exp(counts * log_beta))"),
    ),
    *_of(
        "losses/focal.py",
        "losses/test_focal.py",
        ("F.logsigmoid(-log_odds)).exp()", "F.logsigmoid(log_odds)).exp()"),
    ),
    *_of(
        "losses/logit_adjustment.py",
        "losses/test_logit_adjustment.py",
        ("return logits + self.tau", "return logits - self.tau"),
        ("return logits - check_number", "return logits + check_number"),
    ),
    *_of(
        "losses/angular.py",
        "losses/test_angular.py",
        ("- guarded_sin(cosines)", "+ guarded_sin(cosines)"),
        ("-2 - shifted", "-1 - shifted"),
    ),
    *_of(
        "losses/arcface.py",
        "losses/test_arcface.py",
        ("of_target, margins, monotone=monotone", "of_target, margins"),
    ),
    *_of(
        "losses/sphereface.py",
        "losses/test_sphereface.py",
        ("* polynomial - 2 * half_turns", "* polynomial - half_turns"),
    ),
    *_of(
        "losses/ldam.py",
        "losses/test_ldam.py",
        ("** 0.25", "** 0.5"),
        ("(counts.min() / counts)", "(counts[-1] / counts)"),
    ),
    *_of(
        "losses/dbm.py",
        "losses/test_dbm.py",
        ("(counts.min() / counts)", "(counts[-1] / counts)"),
        ("cosines.amax(1) > of_target", "cosines.amax(1) >= of_target"),
        ("* (1 - of_target) / 2", "* (1 - of_target)"),
    ),
    *_of(
        "losses/contrastive.py",
        "losses/test_contrastive.py",
        ("logits.masked_fill(itself, -math.inf).logsumexp", "logits.logsumexp"),
    ),
    *_of(
        "losses/balanced_contrastive.py",
        "losses/test_balanced_contrastive.py",
        ("members[labels] - same_class.to(members)", "members[labels]"),
    ),
    *_of(
        "losses/image_text.py",
        "losses/test_image_text.py",
        ("labels >= 0", "labels >= -1"),
        ("logit_scale * inner_products", "inner_products"),
        ("(logits.T, positives", "(logits, positives"),
        ("positives = same_label if", "positives = itself if"),
        ("itself | ~same_label if", "itself | same_label if"),
        ("/ max(len(costs), 1)", "/ len(labels)"),
    ),
    *_of(
        "losses/hierarchical/image_text.py",
        "losses/hierarchical/test_image_text.py",
        ("weight * self.of_level", "self.of_level"),
        ("labels.T, logit_scales, strict", "labels.T.flip(0), logit_scales, strict"),
    ),
    *_of(
        "losses/gaussian_mixture.py",
        "losses/test_gaussian_mixture.py",
        ("- samples.to(logits).log()", "- samples.to(logits).log() * 0"),
    ),
    *_of(
        "losses/dro.py",
        "losses/test_dro.py",
        ("distances + 2 * radii", "distances + radii"),
    ),
    *_of(
        "losses/nested_collaborative.py",
        "losses/test_nested_collaborative.py",
        ("(scores, target) + self.log_images", "(scores, target)"),
        ("logits.where(hard, 0.0)", "logits.where(hard, -1e4)"),
    ),
    *_of(
        "losses/ride.py",
        "losses/test_ride.py",
        ("temperatures.mean().square()", "temperatures.mean()"),
    ),
    *_of(
        "losses/ace.py",
        "losses/test_ace.py",
        ("masked_fill(own_classes, 0.0)", "masked_fill(~own_classes, 0.0)"),
    ),
)

_FEATURES = (
    *_of(
        "models/network.py",
        "models/test_normalisation.py",
        ("self.neck(self.features(images))", "self.features(images)"),
        ("nn.Identity(), self.head, neck=self.neck)", "nn.Identity(), self.head)"),
    ),
    *_of(
        "training/inputs.py",
        "training/test_features.py",
        (
            "data.classes.class_counts[targets.numpy()] <",
            "data.classes.class_counts[0] + 0 * targets.numpy() <",
        ),
    ),
    *_of(
        "training/earlier.py",
        "training/test_features.py",
        ("digest not in known for", "True for"),
    ),
    *_of(
        "training/probe.py",
        "training/test_features.py",
        ('"epochs": recipe.probe.epochs,', '"epochs": 1,'),
    ),
    *_of(
        "recipes/mode_defaults.py",
        "recipes/test_mode_defaults.py",
        ("_ADAMW_RATE = 1e-4", "_ADAMW_RATE = 1e-1"),
    ),
)

_MODELS = (
    *_of(
        "models/heads.py",
        "models/test_heads.py",
        (".masked_fill(norms <= SHORTEST_NORM, 0.0)", ""),
    ),
    *_of(
        "models/prototype.py",
        "models/test_prototype.py",
        ("self._distances(embedding) / -2", "self._distances(embedding) / -1"),
        ("squares.masked_fill(at_zero, 1.0).sqrt()", "squares.sqrt()"),
        ("return 1 - directions", "return -directions"),
    ),
    *_of(
        "models/experts.py",
        "models/test_experts.py",
        (".mean(dim=0)", ".sum(dim=0)"),
        ("for expert in self.experts[1:]:", "for expert in self.experts[2:]:"),
    ),
    *_of("models/layers.py", "models/test_layers.py", ("output.shape[1]", "output.shape[-1]")),
    *_of(
        "models/adapters/adaptformer.py",
        "models/test_adapters.py",
        ("+ self.scale * self.up", "+ self.up"),
        ("F.relu(self.down(tokens))", "self.down(tokens)"),
        ("nn.init.zeros_(self.up.weight)", "nn.init.zeros_(self.down.bias)"),
    ),
    *_of(
        "models/adapters/lora.py",
        "models/test_adapters.py",
        ("self.factor * (self.up", "1.0 * (self.up"),
        ("[queries, torch.zeros_like(queries), values]", "[queries, values, values]"),
        ("torch.zeros(2, width, rank)", "torch.ones(2, width, rank)"),
        ("factor=self.alpha / self.rank", "factor=self.alpha"),
    ),
    *_of(
        "models/adapters/selective.py",
        "models/test_adapters.py",
        ('name.endswith("bias")', 'name.endswith(".bias")'),
        ("isinstance(one, nn.LayerNorm)", "isinstance(one, nn.Module)"),
    ),
    *_of(
        "models/network.py",
        "models/test_adapters.py",
        ("        self.freeze_backbone()\n", ""),
    ),
    *_of(
        "data/resizing.py",
        "data/test_resizing.py",
        ("<= _MOST_SCALED_PIXELS", "<= 0"),
        ("if least_height == least_width:", "if least_height > 0:"),
        ("int(least_width * height / width)", "round(least_width * height / width)"),
        ("floor(side / spec.crop_share)", "side"),
        ("round((scaled_height - height) / 2)", "(scaled_height - height) // 2"),
        ('padding_mode="edge"', 'padding_mode="constant"'),
        ("round(width * most_height / most_width)", "width"),
    ),
    *_of(
        "data/transforms.py",
        "data/test_transforms.py",
        ("decode_at_least=_enough_pixels(spec),\n    )", "decode_at_least=None,\n    )"),
        ("pad_border(image, spec=spec, at_most=2)", "to_tensor(image)"),
        ("value=_MEAN_COLOUR", "value=0"),
    ),
    *_of(
        "data/crops.py",
        "data/test_crops.py",
        ("min(1.0, _LARGER * spec.crop_share)", "spec.crop_share"),
    ),
    *_of(
        "data/crops.py",
        "data/test_crops.py",
        ("_LARGER: Final = 8 / 7", "_LARGER: Final = 7 / 6"),
    ),
    *_of(
        "classifier/classifier.py",
        "classifier/test_crops.py",
        ("torch.stack(of_crops).mean(dim=0)", "torch.stack(of_crops).amax(dim=0)"),
    ),
    *_of(
        "classifier/fingerprint.py",
        "classifier/test_crops.py",
        ("(*said, adapter.model_dump_json())", "(*said, adapter.name)"),
    ),
    *_of(
        "evaluation/adaptation.py",
        "classifier/test_crops.py",
        ("yield from crops_of(images,", "yield from crops_of(images[:1],"),
    ),
)

_METRICS = (
    *_of("metrics/recall.py", "metrics", ("2 * tally.hits", "tally.hits")),
    *_of(
        "metrics/open_set.py",
        "metrics/test_open_set.py",
        ("(unknown > threshold)", "(unknown >= threshold)"),
        ("(unknown <= own_threshold)", "(unknown < own_threshold)"),
        ("_pairs_in_order(known[right], unknown)", "_pairs_in_order(known, unknown)"),
        ("(known <= threshold)", "(known < threshold)"),
        ('"ACC": (tpr + tnr) / 2', '"ACC": tpr * tnr'),
    ),
    *_of(
        "metrics/geometry.py",
        "metrics/test_geometry.py",
        ("2 * np.degrees(", "np.degrees("),
        ("- 2 * block @ rows.T", "- block @ rows.T"),
    ),
    *_of(
        "metrics/separability.py",
        "metrics/test_separability.py",
        ("np.sqrt(len(images) - 1)", "np.sqrt(len(images))"),
    ),
    *_of("metrics/margins.py", "metrics/test_margins.py", ("= -np.inf", "= np.inf")),
    *_of(
        "metrics/neighbours.py",
        "metrics/test_neighbours.py",
        ("(len(taxon) - 1)", "len(taxon)"),
        ("others = int(of_taxon.sum()), of_taxon - 1", "others = int(of_taxon.sum()), of_taxon"),
        ("near[known]] == taxon[known, None]", "near[known]] == taxon[:1, None]"),
    ),
)

_TRAINING = (
    *_of(
        "training/selection.py",
        "training/test_selection.py",
        ("argsort(stable=True)", "argsort(descending=True)"),
    ),
    *_of(
        "training/gradient_cache.py",
        "training/test_gradient_cache.py",
        ("use_reentrant=False)", "use_reentrant=False, preserve_rng_state=False)"),
        ("[checkpoint(encoder, part, use_reentrant=False)", "[encoder(part)"),
        ("(layer.training or layer.running_mean is None)", "layer.training"),
    ),
    *_of(
        "training/gathering.py",
        "training/test_gathering.py",
        ("F.pad(tensor,", "F.pad(tensor.detach(),"),
        ("part[:count]", "part[: max(counts)]"),
    ),
    *_of(
        "training/schedule.py",
        "training/test_schedule.py",
        ("(step + 1) / warmup", "step / warmup"),
        ("bisect_right(milestones, step)", "bisect_right(milestones, step - 1)"),
    ),
    *_of(
        "training/mixing.py",
        "training/test_mixing.py",
        ("return share * images", "return (1 - share) * images"),
        ("math.sqrt(1 - share)", "math.sqrt(share)"),
    ),
    *_of(
        "training/objectives/mixing.py",
        "training/test_mixing_objective.py",
        ("share * first + (1 - share) * second", "first"),
    ),
    *_of(
        "training/objectives/contrast.py",
        "training/test_contrast_objective.py",
        ("self.contrast.weight * contrasted", "contrasted"),
    ),
    *_of(
        "training/tree_contrast.py",
        "training/test_tree_contrast.py",
        ("self.class_places[target]", "target"),
    ),
    *_of(
        "training/objectives/tail_transfer.py",
        "training/test_transfer_objective.py",
        (".masked_fill(part == 0, -1)", ""),
    ),
    *_of(
        "training/reweighting.py",
        "training/test_reweighting.py",
        ("epoch + 1 >= self._first", "epoch >= self._first"),
    ),
    *_of(
        "training/covariance/statistics.py",
        "training/test_covariance_statistics.py",
        ("return images / seen", "return images / (seen + images)"),
    ),
    *_of(
        "training/covariance/pairs.py",
        "training/test_covariance_transfer.py",
        ("torch.softmax(options.tau * products, dim=2)", "torch.softmax(products, dim=1)"),
        ("(tail.variance + EPSILON).rsqrt()", "(tail.variance + EPSILON).reciprocal()"),
    ),
    *_of(
        "training/covariance/weights.py",
        "training/test_covariance_transfer.py",
        ("/ shared.shape[1]).clamp", "/ shared.shape[1] ** 2).clamp"),
    ),
    *_of(
        "training/second_stage/prototypes.py",
        "training/test_second_stage_stages.py",
        ("tau=self.tau)", "tau=1.0)"),
    ),
    *_of(
        "training/second_stage/tau_norm.py",
        "training/test_second_stage_stages.py",
        ("clamp_min(SHORTEST_NORM) ** tau", "clamp_min(SHORTEST_NORM) * tau"),
    ),
    *_of(
        "training/second_stage/lws.py",
        "training/test_second_stage_stages.py",
        ("factors * scaled.bias", "scaled.bias"),
    ),
    *_of(
        "training/second_stage/max_norm.py",
        "training/test_second_stage_stages.py",
        ("norms.clamp_min(radius)", "norms"),
    ),
)

_OTHERS = (
    *_of("taxonomy/propagate.py", "taxonomy", ("index_add(", "index_copy(")),
    *_of(
        "inference/decision/curve.py",
        "inference/test_decision.py",
        (">= accuracy", "> accuracy"),
    ),
    *_of(
        "inference/decision/naming.py",
        "inference/test_decision.py",
        ("likely.prob >= threshold_prob", "likely.prob > threshold_prob"),
    ),
    *_of(
        "inference/decision/mistakes.py",
        "inference/test_decision_policies.py",
        ("one_too_many + _STEP", "one_too_many"),
        ("wrong = last & ", "wrong = "),
    ),
    *_of(
        "inference/decision/risk_control.py",
        "inference/test_decision_policies.py",
        ("self.delta / (n_groups * at_once)", "self.delta / at_once"),
    ),
    *_of(
        "inference/decision/mean_risk.py",
        "inference/test_decision_policies.py",
        ("(images + 1)\n    return", "images\n    return"),
    ),
    *_of(
        "inference/decision/leaf_sets.py",
        "inference/test_decision_policies.py",
        ("falling[:, :-1], axis=1", "falling[:, 1:], axis=1"),
        ("leaf_probs >= least", "leaf_probs > least"),
        ("where=leaf_probs > best", "where=leaf_probs >= best"),
    ),
    *_of(
        "inference/decision/covers.py",
        "inference/test_covers.py",
        ("only = children[parent] == 1", "only = children[parent] == 0"),
    ),
    *_of(
        "inference/decision/information_gain.py",
        "inference/test_decision_policies.py",
        (">= 1 - self.eps", "> 1 - self.eps"),
    ),
    *_of(
        "metrics/risk_coverage.py",
        "metrics/test_risk_coverage.py",
        ("cut = np.where(lca == truth, truth, named)", "cut = named"),
        ("1 - np.log(", "np.log("),
    ),
    *_of("data/long_tail.py", "data", ("counts < few_below", "counts <= few_below")),
    *_of(
        "data/features/index.py",
        "data/features/test_index.py",
        ("in reversed(self._segments)", "in self._segments"),
        ("last[:-1] = digests", "last[1:] = digests"),
        ("(places >= high)", "(places > high)"),
    ),
    *_of(
        "data/features/writer.py",
        "data/features",
        ("        contents.refresh()\n", ""),
        ("entries(number) < SHARD_ENTRIES", "entries(number) < 9 * SHARD_ENTRIES"),
    ),
    *_of(
        "data/features/batches.py",
        "data/features/test_batches.py",
        ("choices[is_plain] = 0", "choices[is_plain] = -1"),
        ("_mix(hashes ^ numbers", "_mix(hashes + numbers"),
    ),
    *_of(
        "data/sampling.py",
        "data/test_sampling.py",
        ("slice(self.rank, None", "slice(0, None"),
    ),
    *_of(
        "data/samplers.py",
        "data/test_samplers.py",
        ("power_probs(class_counts, 0.5)", "power_probs(class_counts, 1.0)"),
        ("(1 - progress) * by_instance", "by_instance"),
    ),
    *_of(
        "data/benchmarks/cifar.py",
        "data/test_benchmarks_cifar.py",
        ("_TRAIN // classes, factor, classes)", "_TRAIN // classes, factor, classes + 1)"),
    ),
    *_of(
        "classifier/rows.py",
        "classifier",
        ("novelty > threshold", "novelty >= threshold"),
        (">= smallest", "> smallest"),
    ),
)

_TREE = (
    *_of(
        "taxonomy/propagate.py",
        "taxonomy/test_propagate.py",
        ("_log(total) + peak", "_log(total)"),
    ),
    *_of(
        "inference/elimination.py",
        "inference/test_diffusion.py",
        ("alpha * weight / pivot", "alpha * weight"),
        ("coupling[level] ** 2", "coupling[level]"),
        ("(1 - alpha) / pivot", "1 / pivot"),
        ("neighbours[1:] += 1", "neighbours[1:] += 0"),
    ),
    *_of(
        "inference/diffusion.py",
        "inference/test_diffusion.py",
        ("(1 - share) * initial", "initial"),
        (".to(alpha) / (1 - alpha)", ".to(alpha)"),
    ),
    *_of(
        "inference/graph_diffusion.py",
        "inference/test_graph_diffusion.py",
        ("1 / np.sqrt(np.where(degree > 0, degree, 1))", "1 / np.where(degree > 0, degree, 1)"),
        ("confusion_weight / 2", "confusion_weight"),
    ),
    *_of(
        "inference/level_scores.py",
        "inference/test_level_scores.py",
        ("kept[0] = False", "kept[0] = True"),
        ("diffused / torch.where", "diffused * torch.where"),
        ("cummin", "cummax"),
    ),
    *_of(
        "inference/rollup.py",
        "inference/test_rollup.py",
        ("weighed = own * above", "weighed = own"),
        ("least = torch.minimum(", "least = torch.maximum("),
    ),
    *_of(
        "inference/diffusion_loss.py",
        "inference/test_learned_diffusion.py",
        ("logs.exp(), target_nodes", "logs.exp() * 0, target_nodes"),
        ("wrong = probs.scatter(1, path, 0.0)", "wrong = probs.clone()"),
        ("counted = known | (depth >= level)", "counted = known | (depth >= 0)"),
    ),
    *_of(
        "inference/learned_diffusion.py",
        "inference/test_learned_diffusion.py",
        ("logs - logs.mean(dim=1, keepdim=True)", "logs - logs.mean()"),
    ),
    *_of(
        "metrics/severity.py",
        "metrics/test_severity.py",
        ("heights[level] + 1", "heights[level]"),
        ("heights[heights > 0]", "heights[heights >= 0]"),
    ),
    *_of(
        "metrics/pareto.py",
        "metrics/test_hierarchical.py",
        ("children > 1", "children > 0"),
        ("prob > highest_before", "prob >= highest_before"),
    ),
    *_of(
        "metrics/judging.py",
        "metrics/test_hierarchical.py",
        ("confidence > _MAJORITY_PROB", "confidence >= _MAJORITY_PROB"),
        ("(self._value[truth] == 0)", "(self._value[truth] < 0)"),
    ),
    *_of(
        "metrics/operating_curve.py",
        "metrics/test_hierarchical.py",
        ("staircase_area(recall, correct)", "staircase_area(recall, precision)"),
        ("100 * right >= percent", "100 * right > percent"),
    ),
    *_of(
        "classifier/reading.py",
        "classifier/test_reading.py",
        ("(probs - children).clamp_min(0)", "probs"),
        ("found[:, 0] = 1", "found[:, 0] = 0"),
    ),
    *_of(
        "training/tree_loss.py",
        "training/test_tree_loss.py",
        ("nodes = self.class_places[target]", "nodes = target"),
    ),
)

_NOVELTY = (
    *_of(
        "inference/novelty/moments.py",
        "inference/test_embedding_moments.py",
        ("self.scatter += scatter + away.T @ away", "self.scatter += scatter"),
        ("self.means[present] += gap * share", "self.means[present] += gap / 2"),
        ("return self.scatter + away.T @ away", "return self.scatter"),
    ),
    *_of(
        "inference/novelty/distances.py",
        "inference/test_fitted_novelty_formulas.py",
        ("compared.masked_fill(~allowed, torch.inf).argmin", "compared.argmin"),
        ("- 2 * points @ centres.T", "- points @ centres.T"),
    ),
    *_of(
        "inference/novelty/nearest_prototype.py",
        "inference/test_fitted_novelty_formulas.py",
        ("cosines.masked_fill(~allowed, -torch.inf).amax", "cosines.amax"),
    ),
    *_of(
        "inference/novelty/whitening.py",
        "inference/test_fitted_novelty_formulas.py",
        ("(1 - share) * values", "values"),
        ("(degrees + 1 - correction)", "(degrees - correction)"),
        ("vectors / values.sqrt()", "vectors / values"),
    ),
    *_of(
        "inference/novelty/relative_mahalanobis.py",
        "inference/test_fitted_novelty_formulas.py",
        ("logits) - of_all", "logits)"),
        ("moments.total_scatter", "moments.scatter"),
    ),
    *_of(
        "inference/novelty/knn.py",
        "inference/test_fitted_novelty_formulas.py",
        ("least.amax(dim=1)", "least.amin(dim=1)"),
        ("torch.cat((least, squares), dim=1)", "squares"),
    ),
    *_of(
        "inference/novelty/vim.py",
        "inference/test_fitted_novelty_formulas.py",
        ("vectors[:, : self.dim - principal]", "vectors[:, principal:]"),
        ("- logits.logsumexp(dim=1)", "- logits.amax(dim=1)"),
        ("((embedding - self.origin) @", "(embedding @"),
        ("return largest / norms", "return norms / largest"),
    ),
    *_of(
        "inference/novelty/levels.py",
        "inference/test_level_novelty.py",
        ("taxonomy.level(depth)", "taxonomy.leaves"),
        ("return (1 - ", "return (-"),
    ),
    *_of(
        "inference/novelty/nearest_taxon.py",
        "inference/test_level_novelty.py",
        ("moments.means * own", "moments.means"),
        ("images.clamp(min=1)", "images.clamp(min=2)"),
    ),
)

_UNKNOWN_TAXA = (
    *_of(
        "taxonomy/selection.py",
        "taxonomy/test_selection.py",
        ("inside[level] |= inside[taxonomy.parent[level]]", "pass"),
    ),
    *_of(
        "data/hold_out.py",
        "data/test_hold_out.py",
        ("found |= of_taxon", "found ^= of_taxon"),
    ),
    *_of(
        "data/splitting.py",
        "data/test_hold_out.py",
        ("table if held_out is None else table.rows(~held_out)", "table"),
    ),
    *_of(
        "training/data.py",
        "training/test_data.py",
        ("& (split != UNKNOWN_SPLIT).to_numpy()", "& (split != 'val').to_numpy()"),
        ('return images.frame["split"] == UNKNOWN_SPLIT', 'return images.frame["split"] == ""'),
    ),
    *_of(
        "data/matching.py",
        "evaluation/test_novelty_strata.py",
        ("spans[taxonomy.spanned_by(class_nodes)[1]]", "spans[class_nodes]"),
        ("np.where(spans[level], found[level],", "np.where(True, found[level],"),
        ("np.where(nodes == 0, named, nodes)", "np.where(nodes == 0, nodes, named)"),
        ("range(len(above), 0, -1)", "range(1, len(above) + 1)"),
    ),
    *_of(
        "evaluation/novelty_strata.py",
        "evaluation/test_novelty_strata.py",
        ("taxonomy.ranks[rank + 1] if", "taxonomy.ranks[rank] if"),
    ),
    *_of(
        "evaluation/open_set.py",
        "evaluation/test_open_set.py",
        ("scores[stratum_of == stratum]", "scores[stratum_of >= stratum]"),
        ("known_right=known_right)", "known_right=np.ones_like(known_right))"),
    ),
    *_of(
        "evaluation/examiner.py",
        "evaluation/test_open_set.py",
        ("strata[row] for row in found.rows", "strata[row] for row in range(len(found.rows))"),
    ),
    *_of(
        "evaluation/novelty_scores.py",
        "evaluation/test_novelty_scores.py",
        ("threshold_at_tpr(calibrating, share)", "threshold_at_tpr(calibrating, 0.95)"),
        ("calibration.get(name, ())", "known.novelty_by[name]"),
    ),
    *_of(
        "classifier/novelty.py",
        "classifier/test_novelty_fitting.py",
        ("value=-torch.inf", "value=0.0"),
        ("if there != name:", "if fitted is None:"),
    ),
    *_of(
        "classifier/novelty_fitting.py",
        "classifier/test_novelty_fitting.py",
        ("if isinstance(score, ViM) and affine", "if False and affine"),
        ("dim=1) / len(known)", "dim=1)"),
        ('"novelty_threshold": None}', '"images": 5}'),
    ),
)

_DECISIONS = (
    *_of(
        "classifier/naming.py",
        "classifier/test_naming.py",
        ("groups=groups(probs)", "groups=0 * groups(probs)"),
        ("(given.renormalised or not self.is_kept_by_coarser_names)", "given.renormalised"),
        ("and groups is None and not policy", "and not policy"),
        ("None if policy.is_about_names else", "None if False else"),
    ),
    *_of(
        "classifier/predicted_groups.py",
        "classifier/test_naming.py",
        (" if int(node) not in above]", "]"),
    ),
    *_of(
        "classifier/calibration_scores.py",
        "classifier/test_calibration_scores.py",
        ("known=self.known)", "known=None)"),
        ("of_nodes(best)", "of_nodes(truth)"),
    ),
    *_of(
        "classifier/deciding.py",
        "classifier/test_deciding.py",
        ("if probs_from > needed:", "if probs_from > 1:"),
        ("naming.under(header.made_with)", "naming"),
        ("if rule.probabilities != header.probabilities:", "if rule.probabilities == '':"),
    ),
    *_of(
        "training/calibrate.py",
        "training/test_calibrate.py",
        ("left[used] = left[others] = False", "left[used] = False"),
        ("len(used) < _FEWEST_FOR_TEMPERATURE", "len(used) < 1"),
    ),
)

_CALIBRATION = (
    *_of(
        "metrics/calibration.py",
        "metrics/test_calibration.py",
        ('side="left") - 1', 'side="right") - 1'),
        (
            "self._right += np.bincount(bin_of[is_right]",
            "self._right += np.bincount(bin_of[~is_right]",
        ),
        ("weights=stated", "weights=is_right"),
        ("np.nansum(curve.images * gap) / total", "np.nanmean(gap)"),
    ),
    *_of(
        "evaluation/judge.py",
        "evaluation/test_run.py",
        ("dtype=object)[ranked[:, 0]]", "dtype=object)[truth]"),
        ("(ranked[:, 0] == truth)[of_group]", "(ranked == truth[:, None]).any(axis=1)[of_group]"),
    ),
    *_of(
        "inference/rank_temperature.py",
        "inference/test_rank_temperature.py",
        ("(probs.log() / temperature).softmax", "(probs.log() * temperature).softmax"),
        ("(mass * shares)", "shares"),
        (".clamp(min=_LEAST_PROB)", ""),
    ),
    *_of(
        "inference/calibration.py",
        "inference/test_calibration.py",
        ("targets[done : done + len(logits)]", "targets[: len(logits)]"),
    ),
)

_REGIONS = (
    *_of(
        "taxonomy/comparison.py",
        "taxonomy/test_comparison.py",
        ("shared[one.nodes[0]] > 1", "shared[one.nodes[0]] > 2"),
        ("rank_here is None or rank == rank_here", "rank_here is None or rank != ''"),
        ("both = (ours >= 0) & (theirs >= 0)", "both = (ours > 0) & (theirs < 0)"),
        ("if len(chosen) > 1:", "if len(chosen) > 2:"),
    ),
    *_of(
        "inference/prior_shift.py",
        "inference/test_prior_shift.py",
        ("values * (goal / start)", "values * (start / goal)"),
        ("updated = weights * (values.T", "updated = start * (values.T"),
        ("weights = priors / start", "weights = priors"),
        ("if change <= tolerance:", "if change <= 1000 * tolerance:"),
    ),
    *_of(
        "inference/batch_norm.py",
        "inference/test_batch_norm.py",
        ("layer.momentum = len(batch) / seen", "layer.momentum = 0.1"),
        ("        layer.train()", "        adapted.train()"),
    ),
    *_of(
        "classifier/species_weights.py",
        "classifier/test_species_weights.py",
        ("* source[some] / source[some].sum()", "/ len(some)"),
    ),
    *_of(
        "classifier/source_prior.py",
        "classifier/test_source_prior.py",
        ("weights / weights.sum()", "weights / 1.0"),
    ),
    *_of(
        "evaluation/prior_shift.py",
        "evaluation/test_prior_shift.py",
        ("np.abs(target - source).sum() / 2", "np.abs(target - source).sum()"),
    ),
    *_of(
        "evaluation/breakdown.py",
        "evaluation/test_breakdown.py",
        ("known = chosen & (truth >= 0)", "known = truth >= 0"),
        ("truth[known] == best[known]", "truth[known] != best[known]"),
    ),
)

_JUDGED_AND_NAMED = (
    *_of(
        "evaluation/decisions.py",
        "evaluation/test_decisions.py",
        ("is_on_path(taxonomy, named, photos.nodes)", "is_on_path(taxonomy, photos.nodes, named)"),
        ("if not calibrated and not promise", "if calibrated and not promise"),
        ("calibrated / max(", "found / max("),
    ),
    *_of(
        "training/recalibrate.py",
        "training/test_recalibrate.py",
        ("groups.isna() | ~groups.duplicated()", "~groups.duplicated()"),
        ("(groups.isna() | ~groups.duplicated())", "(groups.notna() | ~groups.duplicated())"),
    ),
    *_of(
        "training/zero_shot.py",
        "training/test_zero_shot.py",
        ("min(towers.text.logit_scale, LARGEST_SCALE)", "LARGEST_SCALE"),
        ('{} if config.levels == "all" else', '{} if config.levels == "leaves" else'),
    ),
)

_CHAT = (
    *_of(
        "benchmark/chat/waiting.py",
        "benchmark/chat/test_waiting.py",
        ("2.0 ** (attempt - 1)", "2.0 * (attempt - 1)"),
        ("max(0.0, (until", "min(0.0, (until"),
    ),
    *_of(
        "benchmark/chat/pace.py",
        "benchmark/chat/test_pace.py",
        ("turn + self._gap_seconds", "now + self._gap_seconds"),
        ("max(self._held_until, self._now() + seconds)", "self._now() + seconds"),
        ("if turn >= self._held_until:", "if True:"),
    ),
    *_of(
        "benchmark/chat/budget.py",
        "benchmark/chat/test_budget.py",
        ("self.output_tokens * price_output", "self.output_tokens * price_input"),
        ("cost >= self._max_cost", "cost > self._max_cost"),
    ),
    *_of(
        "benchmark/chat/figures.py",
        "benchmark/chat/test_figures.py",
        ("np.where(wanted < 0, -1, ", "np.where(wanted < 0, 0, "),
        ("few_below=few_below, many_above=many_above", "few_below=20, many_above=100"),
    ),
    *_of(
        "benchmark/chat/judged.py",
        "benchmark/chat/test_judged.py",
        ("sums[level])", "counts[level])"),
        ('judged = truth["genus"] >= 0', 'judged = truth["species"] >= 0'),
    ),
    *_of(
        "benchmark/chat/questions.py",
        "benchmark/chat/test_protocols.py",
        ('"jpeg": sha256(self.jpeg).hexdigest()', '"jpeg": ""'),
    ),
    *_of(
        "benchmark/chat/gemini.py",
        "benchmark/chat/test_protocols.py",
        ("(usage.candidates, usage.thoughts)", "(usage.candidates,)"),
        ("usage.prompt is None", "usage.candidates is None"),
        ("None if None in parts", "0 if None in parts"),
        ("(failure := words_of_failure(content)) is not None", "False"),
    ),
    *_of(
        "benchmark/chat/openai.py",
        "benchmark/chat/test_protocols.py",
        ("or words_of_failure(choice)", ""),
        ("words_of_failure(content) or ", ""),
        ('choice.get("finish_reason") == "error"', "False"),
    ),
    *_of(
        "benchmark/chat/failures.py",
        "benchmark/chat/test_protocols.py",
        ("or not (error := content.get(", "or (error := content.get("),
    ),
    *_of(
        "benchmark/chat/lenient.py",
        "benchmark/chat/test_protocols.py",
        ("strict=True, ", ""),
        ("ge=0, ", ""),
        ("2**53\n", "2**63\n"),
    ),
    *_of(
        "benchmark/chat/names.py",
        "benchmark/chat/test_parsing.py",
        ("return not others and", "return"),
        ("sorted(self._synonyms.accepted(name))", "[fold_name(name)]"),
    ),
    *_of(
        "benchmark/chat/parsing.py",
        "benchmark/chat/test_parsing.py",
        ("if len(answers) > 1:", "if len(answers) > 9:"),
        ("agree = node == genus.node or not genus_text", "agree = True"),
    ),
    *_of(
        "benchmark/chat/endpoints.py",
        "benchmark/chat/test_asking.py",
        ('text.replace(key, "[key]")', "text"),
    ),
    *_of(
        "benchmark/chat/endpoints.py",
        "benchmark/chat/test_endpoints.py",
        ('parts.scheme == "http" and not self.is_local', "False"),
    ),
    *_of(
        "benchmark/chat/asking.py",
        "benchmark/chat/test_asking.py",
        ("self._pace.hold(seconds)", "pass"),
        ("UnusableReplyError(self._clean(str(error)))", "UnusableReplyError(str(error))"),
        ("late = time.monotonic() > latest", "late = False"),
        ("if late:", "if time.monotonic() > latest:"),
        ("if has_answered:", "if False:"),
        ("                self._has_answered = True\n            return", "            return"),
        ("follow_redirects=False", "follow_redirects=True"),
        ("trust_env=not endpoint.is_local", "trust_env=True"),
        ("                self._failed_in_a_row = 0\n", "                pass\n"),
        (
            "shortened(self._endpoint.without_key(text))",
            "self._endpoint.without_key(shortened(text))",
        ),
    ),
    *_of(
        "benchmark/chat/answering.py",
        "benchmark/chat/test_run.py",
        ("self._asker.note_earlier_answer()", "pass"),
    ),
    *_of(
        "benchmark/chat/photos.py",
        "benchmark/chat/test_photos.py",
        (
            '    pixels = Image.new("RGB", decoded.size)\n    pixels.paste(decoded)\n',
            "    pixels = decoded\n",
        ),
    ),
    *_of(
        "benchmark/chat/beside.py",
        "benchmark/chat/test_run.py",
        ("if not classifier.class_counts.any():", "if False:"),
        ("first += len(batch.names)", "first += 0"),
        ("if row not in batch.broken]", "if True]"),
        ("own.path_text(node)", "own.names[node]"),
    ),
    *_of(
        "benchmark/chat/answering.py",
        "benchmark/chat/test_run.py",
        ("with self._decoding:", "if True:"),
        ("if kept is not None and kept.reply is not None:", "if kept is None:"),
        ("self._locks.setdefault(digest, Lock())", "Lock()"),
        (
            "        self._cache.put(digest, finished)\n",
            "        finished.reply and self._cache.put(digest, finished)\n",
        ),
    ),
    *_of(
        "benchmark/chat/rows.py",
        "benchmark/chat/test_run.py",
        ("named == truth if truth >= 0 else None", "named == truth"),
    ),
    *_of(
        "benchmark/chat/workers.py",
        "benchmark/chat/test_workers.py",
        ("        for thread in threads:\n            thread.join()", "        pass"),
    ),
)

_NAMES = (
    *_of(
        "models/clip.py",
        "models/test_clip.py",
        ("torch.tensor(logit_scale).log()", "torch.tensor(logit_scale)"),
    ),
    *_of(
        "models/clip_architecture.py",
        "models/test_clip.py",
        ('config["quick_gelu"] = True', "pass"),
        ('self.preprocess.get("mean") or', 'self.preprocess.get("means") or'),
    ),
    *_of(
        "training/taxon_names.py",
        "training/test_taxon_names.py",
        ("listed = {fold_name(name): common for", "listed = {name: common for"),
        ("fits=tower.fits", "fits=None"),
        ("len(alike) == len(texts) - 2", "False"),
        ("vectors[class_places]", "vectors[: len(class_places)]"),
        ('("text tower", recipe.seed)', '("text tower", 0)'),
        ("set_scales(names.tower.logit_scale)", "set_scales(1.0)"),
    ),
    *_of(
        "training/objectives/choice.py",
        "training/test_taxon_names.py",
        ("objective.notes += names.notes", "pass"),
    ),
    *_of(
        "cli/zero_shot.py",
        "cli/test_zero_shot_verb.py",
        ("for note in result.notes:", "for note in ():"),
    ),
    *_of(
        "data/matching.py",
        "data/test_matching.py",
        ("np.isin(nodes, spanned)", "np.isin(nodes, class_nodes)"),
    ),
    *_of(
        "models/alike_texts.py",
        "models/test_alike_texts.py",
        ("if same != place:", "if same == place:"),
        (
            "enumerate(tokens.view(len(groups), -1), start)",
            "enumerate(tokens.view(len(groups), -1))",
        ),
        ("tokens.view(len(groups), -1)", "tokens[:: len(groups[0])]"),
    ),
    *_of(
        "models/short_texts.py",
        "models/test_short_texts.py",
        ("int(ends.max()) + 1", "int(ends.max())"),
        ("int(ends.max()) + 1", "int(ends.max()) + 2"),
        ("tokens.eq(mark).int().argmax(dim=1)", "tokens.argmin(dim=1)"),
        ('"attn_mask", None) is None or', '"attn_masks", None) is None or'),
        ('or getattr(tower, "cls_emb", None) is not None', ""),
    ),
    *_of(
        "models/level_head.py",
        "models/test_level_head.py",
        ("parts.append(scale * (feature", "parts.append((feature"),
        ("(scale * cosines)", "(cosines)"),
        ("right=True)", "right=False)"),
        ("max=math.log(LARGEST_SCALE)", "max=LARGEST_SCALE"),
        (
            "enabled=False):\n            for feature, scale, vectors",
            "enabled=True):\n            for feature, scale, vectors",
        ),
    ),
    *_of(
        "models/prompts.py",
        "models/test_prompts.py",
        ('own.startswith(names[parent] + " ")', "own.startswith(names[parent])"),
        ("told.get(name, name)", 'told.get(name, "")'),
        ("paths[node] = paths[node][1:]", "paths[node] = paths[node][:-1]"),
        (".all(axis=1)", ".any(axis=1)"),
        ('[("",) * len(templates), *found[1:]]', "found"),
    ),
    *_of(
        "models/text_embeddings.py",
        "models/test_text_embeddings.py",
        ("max(1, at_once // len(texts[0]))", "at_once"),
        ("directions(tower(part.to(device))) for", "tower(part.to(device)) for"),
        ("== file_digest(path)", '!= ""'),
        ("repr(group).encode()", '"".join(group).encode()'),
    ),
    *_of(
        "losses/hierarchical/name_contrast.py",
        "losses/hierarchical/test_name_contrast.py",
        ("weight * len(scores) / len(labelled)", "weight"),
        ("(logits, level[labelled],", "(logits, labelled,"),
        ("torch.where(self._counts(target_nodes), nodes, -1)", "nodes"),
        ("scores[:, :0].sum(1)", "scores.new_zeros(len(scores))"),
    ),
    *_of(
        "training/objectives/image_text.py",
        "training/test_image_text_objective.py",
        ("*key[:-1]", "*key"),
        ("[nodes.cpu(), template]", "[nodes.cpu(), 0]"),
        ("directions(self._encode(self.tower, tokens))", "self._encode(self.tower, tokens)"),
        ("_places(labels, nodes)).mean()", "_places(labels, nodes)).sum()"),
    ),
    *_of(
        "training/objectives/base.py",
        "training/test_taxon_names.py",
        ("[head.log_scales] if", "[] if"),
    ),
)

MUTANTS = (
    *_LOSSES,
    *_FEATURES,
    *_MODELS,
    *_METRICS,
    *_TRAINING,
    *_TREE,
    *_NOVELTY,
    *_UNKNOWN_TAXA,
    *_DECISIONS,
    *_CALIBRATION,
    *_REGIONS,
    *_JUDGED_AND_NAMED,
    *_CHAT,
    *_NAMES,
    *_OTHERS,
)
