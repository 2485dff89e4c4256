"""Models by name from timm, torchvision and transformers, built without a network."""

import pytest
import torch
from torch import nn

from archsmith import method
from archsmith.errors import InvalidModel, InvalidOption, MissingExtra, UnknownName, UserError
from archsmith.models import source_named
from archsmith.testing.torchvision_stub import define_torchvision_operators


@pytest.fixture(scope="module", autouse=True)
def operators():
    define_torchvision_operators()


def build(spec, **arguments):
    source = source_named(spec)
    source.check(spec)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return source.build(spec, **arguments).eval()


def shape_of(model, *inputs):
    with torch.no_grad():
        return tuple(model(*inputs).shape)


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("timm/resnet18", "timm"),
        ("torchvision/vgg11", "torchvision"),
        ("hf/some/model", "hf"),
        ("my.module:make", "factory"),
    ],
)
def test_one_source_recognises_a_name(spec, name):
    assert [n for n in method.names("models") if method.load("models", n).recognises(spec)] == [name]


def test_a_name_of_no_kind():
    with pytest.raises(UnknownName, match=r"did you mean 'timm'.*they are written timm/NAME, torchvision/NAME, hf/"):
        source_named("tim/resnet18")


def test_every_source_says_how_it_loads_no_weights():
    for name in method.names("models"):
        assert isinstance(method.load("models", name).without_weights, dict)


class TestTimm:
    def test_first_and_last_layer_follow_the_data(self):
        model = build("timm/resnet10t", channels=1, classes=4, image_size=[20, 24])
        assert shape_of(model, torch.zeros(2, 1, 20, 24)) == (2, 4)

    def test_the_image_size_where_the_model_is_built_for_one(self):
        model = build("timm/vit_tiny_patch16_224", channels=3, classes=4, image_size=[32, 48])
        assert tuple(model.patch_embed.img_size) == (32, 48)
        assert shape_of(model, torch.zeros(2, 3, 32, 48)) == (2, 4)

    def test_options_reach_the_network(self):
        assert build("timm/resnet10t", drop_rate=0.25).drop_rate == 0.25

    def test_unknown_names_and_options(self):
        with pytest.raises(UnknownName, match="no model of timm is called 'resnet81'; did you mean 'resnet"):
            source_named("timm/resnet81").check("timm/resnet81")
        with pytest.raises(InvalidOption, match=r"'timm/resnet10t' cannot be built with .*nonsense=3: .*nonsense"):
            build("timm/resnet10t", nonsense=3)

    def test_an_image_that_the_network_cannot_take(self):
        with pytest.raises(InvalidModel, match="'timm/vit_tiny_patch16_224' cannot be built with"):
            build("timm/vit_tiny_patch16_224", classes=2, embed_dim=5)

    def test_no_network(self, monkeypatch):
        import timm

        def offline(*args, **kwargs):
            raise OSError("Name or service not known")

        monkeypatch.setattr(timm.models._builder, "load_pretrained", offline)
        with pytest.raises(
            InvalidModel, match=r"could not be fetched \(Name or service not known\);.*pretrained=false"
        ):
            build("timm/resnet10t", pretrained=True)


class TestTorchvision:
    def test_classification(self):
        model = build("torchvision/mobilenet_v3_small", channels=3, classes=4, image_size=[40, 40])
        assert shape_of(model, torch.zeros(2, 3, 40, 40)) == (2, 4)

    def test_the_image_size_where_the_model_is_built_for_one(self):
        model = build("torchvision/vit_b_16", classes=2, image_size=[32, 32])
        assert shape_of(model, torch.zeros(1, 3, 32, 32)) == (1, 2)

    def test_segmentation_and_detection_fetch_nothing(self, monkeypatch):
        monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)  # whoever calls it fails
        segments = build("torchvision/lraspp_mobilenet_v3_large", classes=5, channels=3, image_size=[32, 32])
        assert tuple(segments(torch.zeros(1, 3, 32, 32))["out"].shape) == (1, 5, 32, 32)
        assert isinstance(build("torchvision/ssdlite320_mobilenet_v3_large", classes=5), nn.Module)

    def test_weights_keep_all_but_the_last_layer(self, monkeypatch):
        trained = build("torchvision/squeezenet1_1").state_dict()
        import torchvision

        monkeypatch.setattr(
            torchvision.models.SqueezeNet1_1_Weights, "get_state_dict", lambda self, *args, **kwargs: trained
        )
        with torch.random.fork_rng():
            torch.manual_seed(1)  # other than that of the trained weights
            model = source_named("torchvision/x").build("torchvision/squeezenet1_1", classes=3, weights="DEFAULT")
        found = model.state_dict()
        assert torch.equal(found["features.0.weight"], trained["features.0.weight"])
        assert found["classifier.1.weight"].shape[0] == 3

    def test_no_network(self, monkeypatch):
        import torchvision

        def offline(*args, **kwargs):
            raise OSError("Name or service not known")

        monkeypatch.setattr(torchvision.models.SqueezeNet1_1_Weights, "get_state_dict", offline)
        with pytest.raises(InvalidModel, match=r"could not be fetched .* leave weights and weights_backbone out"):
            build("torchvision/squeezenet1_1", weights="DEFAULT")

    def test_what_cannot_be_built(self):
        with pytest.raises(UnknownName, match="no model of torchvision is called 'resnet81'; did you mean 'resnet"):
            source_named("torchvision/resnet81").check("torchvision/resnet81")
        with pytest.raises(InvalidModel, match=r"reads images of 3 channels, the data have 1; .*--model timm/NAME"):
            build("torchvision/resnet18", channels=1)
        with pytest.raises(InvalidOption, match="nonsense"):
            build("torchvision/resnet18", nonsense=1)

    def test_rebuilding_without_weights(self):
        source = source_named("torchvision/x")
        assert isinstance(source.build("torchvision/squeezenet1_1", **source.without_weights), nn.Module)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Tiny random models in folders as ``save_pretrained`` writes them."""
    import transformers

    root = tmp_path_factory.mktemp("hf")
    small = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    bert = transformers.BertConfig(vocab_size=40, max_position_embeddings=12, num_labels=2, **small)
    transformers.BertForSequenceClassification(bert).save_pretrained(root / "bert")
    vit = transformers.ViTConfig(image_size=16, patch_size=4, num_labels=2, **small)
    transformers.ViTForImageClassification(vit).save_pretrained(root / "vit")
    gpt = transformers.GPT2Config(vocab_size=40, n_positions=12, n_embd=16, n_layer=2, n_head=2)
    transformers.GPT2LMHeadModel(gpt).save_pretrained(root / "gpt")
    (root / "empty").mkdir()
    return root


class TestHuggingFace:
    def test_text_classification_by_default(self, folders):
        model = build(f"hf/{folders}/bert", classes=2, tokens=7, vocabulary=40)
        assert type(model).__name__ == "BertForSequenceClassification"
        ids = torch.ones(2, 7, dtype=torch.long)
        assert model(input_ids=ids, attention_mask=ids).logits.shape == (2, 2)
        import transformers

        saved = transformers.BertForSequenceClassification.from_pretrained(folders / "bert")
        assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), model.parameters(), strict=True))

    def test_other_classes_begin_a_new_head_only(self, folders):
        import transformers

        model = build(f"hf/{folders}/bert", classes=5)
        saved = transformers.BertForSequenceClassification.from_pretrained(folders / "bert")
        assert model.classifier.out_features == 5
        assert torch.equal(model.bert.pooler.dense.weight, saved.bert.pooler.dense.weight)

    def test_images(self, folders):
        model = build(f"hf/{folders}/vit", channels=3, classes=4, image_size=[16, 16])
        assert model(torch.zeros(2, 3, 16, 16)).logits.shape == (2, 4)

    def test_images_of_another_size(self, folders):
        with pytest.raises(InvalidModel, match=r"trained with image_size=16, the data have 32: resize .*--resize"):
            build(f"hf/{folders}/vit", channels=3, classes=4, image_size=[32, 32])
        model = build(f"hf/{folders}/vit", channels=1, classes=4, image_size=[32, 32], pretrained=False)
        assert model(torch.zeros(2, 1, 32, 32)).logits.shape == (2, 4)

    def test_language_models_by_task(self, folders):
        model = build(f"hf/{folders}/gpt", task="causal-lm")
        assert model(input_ids=torch.ones(1, 5, dtype=torch.long)).logits.shape == (1, 5, 40)

    def test_entries_of_the_configuration(self, folders):
        model = build(f"hf/{folders}/bert", pretrained=False, num_hidden_layers=3)
        assert len(model.bert.encoder.layer) == 3

    @pytest.mark.parametrize(
        ("name", "options", "kind", "message"),
        [
            ("bert", {"num_hiden_layers": 3}, UnknownName, "did you mean 'num_hidden_layers'"),
            ("bert", {"task": "causal_lm"}, UnknownName, "did you mean 'causal-lm'"),
            ("bert", {"vocabulary": 41}, InvalidModel, "has vocab_size=40, the data need 41; use the tokenizer"),
            ("bert", {"tokens": 13}, InvalidModel, "max_position_embeddings=12, the data need 13; give a smaller"),
            ("empty", {}, InvalidModel, "has no config.json; give a folder that"),
        ],
    )
    def test_what_cannot_be_built(self, folders, name, options, kind, message):
        with pytest.raises(kind, match=message):
            build(f"hf/{folders}/{name}", **options)

    def test_no_network(self, monkeypatch):
        import transformers

        def offline(*args, **kwargs):
            raise OSError("We couldn't connect to 'https://huggingface.co'\nsecond line")

        monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", offline)
        with pytest.raises(InvalidModel, match=r"'hf/nobody/nothing': .*couldn't connect .*save_pretrained"):
            build("hf/nobody/nothing")


@pytest.mark.parametrize(
    ("spec", "package"), [("timm/resnet18", "timm"), ("torchvision/vgg11", "torchvision"), ("hf/a/b", "transformers")]
)
def test_a_missing_package(spec, package, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingExtra, match=rf"'{spec}' needs the package '{package}': pip install 'archsmith\[zoo\]'"):
        source_named(spec).check(spec)


def test_a_torchvision_that_fails_deep_inside_transformers(monkeypatch, folders):
    import transformers

    def broken(*args, **kwargs):
        try:
            raise RuntimeError("operator torchvision::nms does not exist")
        except RuntimeError as error:
            raise ModuleNotFoundError("Could not import module") from error

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", broken)
    with pytest.raises(UserError, match="compiled for another torch than the one that is installed"):
        build(f"hf/{folders}/bert")


def test_a_torchvision_that_does_not_fit_its_torch(monkeypatch):
    from archsmith.models import _zoo

    def broken(*args, **kwargs):
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(_zoo, "require", broken)
    with pytest.raises(UserError, match="compiled for another torch than the one that is installed"):
        source_named("timm/resnet18").check("timm/resnet18")
